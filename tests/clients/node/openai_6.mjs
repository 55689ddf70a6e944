// OpenAI's client for JavaScript, the major before: two pictures by url, as of DALL-E 3, and an edit.
import OpenAI, { BadRequestError, toFile } from 'openai-6';

const [baseURL, prompt] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: 'none' });
const by_name = [];
for (const n of [1, 1]) {
  const options = { size: '1024x1024', quality: 'hd', style: 'vivid', response_format: 'url' };
  const made = await client.images.generate({ model: 'dall-e-3', prompt, n, ...options });
  by_name.push(made.data[0].url);
}
const fairness = { gender: { man: 1.0 } };
const said = await client.images.generate({ model: 'dall-e-3', prompt, fairness });
const image = await toFile(Buffer.from(by_name[0].split(',')[1], 'base64'), 'picture.png');
const edits = await client.images.edit({ model: 'dall-e-3', prompt, fairness, image, strength: 0.5 });
const edited = edits.data.map((picture) => picture.url);
let refused;
try {
  await client.images.generate({ model: 'dall-e-9', prompt });
} catch (error) {
  refused = [error instanceof BadRequestError ? 'BadRequestError' : error.name, error.message];
}
console.log(JSON.stringify({ by_name, said: [said.data[0].url], edited, refused }));
