// The AI SDK with its OpenAI provider: two pictures; only a header can say fairness.
import { createOpenAI } from '@ai-sdk/openai';
import { generateImage } from 'ai';

const [baseURL, prompt] = process.argv.slice(2);
const paint = async (name, n, headers) => {
  const model = createOpenAI({ baseURL, apiKey: 'none' }).image(name);
  const made = await generateImage({ model, prompt, n, size: '1024x1024', headers });
  return made.images.map((image) => image.base64);
};
const by_name = await paint('gpt-image-1', 2);
const said = await paint('gpt-image-1', 1, { 'X-Fairness': '{"gender": {"man": 1.0}}' });
let refused;
try {
  await paint('gpt-image-9', 1);
} catch (error) {
  refused = [error.name, error.message];
}
console.log(JSON.stringify({ by_name, said, refused }));
