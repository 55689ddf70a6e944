// The AI SDK with its provider for compatible endpoints: its options go into the body as they are.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateImage } from 'ai';

const [baseURL, prompt] = process.argv.slice(2);
const provider = createOpenAICompatible({ name: 'fairgen', baseURL, apiKey: 'none' });
const paint = async (name, n, fairness) => {
  const providerOptions = fairness ? { fairgen: { fairness } } : {};
  const model = provider.imageModel(name);
  const made = await generateImage({ model, prompt, n, size: '1024x1024', providerOptions });
  return made.images.map((image) => image.base64);
};
const by_name = await paint('gpt-image-1', 2);
const said = await paint('gpt-image-1', 1, { gender: { man: 1.0 } });
let refused;
try {
  await paint('gpt-image-9', 1);
} catch (error) {
  refused = [error.name, error.message];
}
console.log(JSON.stringify({ by_name, said, refused }));
