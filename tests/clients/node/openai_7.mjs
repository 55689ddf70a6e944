// OpenAI's client for JavaScript: two pictures, one as a stream, and an edit.
import OpenAI, { BadRequestError, toFile } from 'openai-7';

const [baseURL, prompt] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: 'none' });
const options = { size: '1024x1024', quality: 'high', moderation: 'low', user: 'somebody' };
const made = await client.images.generate({ model: 'gpt-image-1.5', prompt, n: 2, ...options });
const asked = { model: 'gpt-image-1.5', prompt, fairness: { gender: { man: 1.0 } } };
const said = [(await client.images.generate(asked)).data[0].b64_json];
for await (const event of await client.images.generate({ ...asked, stream: true })) {
  if (event.type === 'image_generation.completed') said.push(event.b64_json);
}
const image = await toFile(Buffer.from(made.data[0].b64_json, 'base64'), 'picture.png');
const edits = await client.images.edit({ ...asked, image, strength: 0.5 });
const edited = edits.data.map((picture) => picture.b64_json);
let refused;
try {
  await client.images.generate({ model: 'gpt-image-9', prompt });
} catch (error) {
  refused = [error instanceof BadRequestError ? 'BadRequestError' : error.name, error.message];
}
const by_name = made.data.map((picture) => picture.b64_json);
console.log(JSON.stringify({ by_name, said, edited, refused, num_tokens: made.usage.input_tokens }));
