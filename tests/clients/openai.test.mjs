// The official JavaScript client, unchanged, against the worker at $URL (`make clients`). Node's own test runner.
import assert from "node:assert/strict";
import test from "node:test";
import OpenAI from "openai";

const { URL: url, TALLOW_API_KEY: apiKey } = process.env;
const model = "tallow-tiny";
const messages = [{ role: "user", content: "Once upon a time" }];
const greedy = { model, max_tokens: 8, temperature: 0 };
const long = { model, messages, n: 8, stream: true, ignore_eos: true };
const client = (options = {}) => new OpenAI({ baseURL: url + "/v1", apiKey, maxRetries: 0, ...options });
const health = async () => (await fetch(url + "/health")).json();

async function idle() {
  for (;;) {
    const { active, queued } = await health();
    if (active + queued === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function collect(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

test("models", async () => {
  const { data } = await client().models.list();
  assert.deepEqual(data.map((one) => one.id), [model]);
  assert.deepEqual({ ...(await client().models.retrieve(model)) }, { ...data[0] });
});

test("completion", async () => {
  const answer = await client().completions.create({ prompt: "Once upon a time", ...greedy });
  const parts = await collect(await client().completions.create({ prompt: "Once upon a time", stream: true, ...greedy }));
  assert.equal(parts.map((part) => part.choices[0].text).join(""), answer.choices[0].text);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("chat, whole and streamed, with usage, log-probabilities and parts", async () => {
  const answer = await client().chat.completions.create({ messages, logprobs: true, top_logprobs: 2, ...greedy });
  const { message, logprobs } = answer.choices[0];
  assert.equal(message.role, "assistant");
  assert.equal(logprobs.content.length, answer.usage.completion_tokens);
  assert.equal(logprobs.content[0].top_logprobs.length, 2);
  const stream = await client().chat.completions.create({
    messages, stream: true, stream_options: { include_usage: true }, ...greedy });
  const parts = await collect(stream);
  assert.equal(parts.map((part) => part.choices[0]?.delta.content ?? "").join(""), message.content);
  assert.equal(parts.at(-1).usage.total_tokens, answer.usage.total_tokens);
  const runner = client().chat.completions.stream({ messages, ...greedy });
  assert.equal(await runner.finalContent(), message.content);
  const content = [{ type: "text", text: "Once upon" }, { type: "text", text: " a time" }];
  const split = await client().chat.completions.create({ messages: [{ role: "user", content }], ...greedy });
  assert.equal(split.choices[0].message.content, message.content);
});

test("errors are of their classes", async () => {
  const chat = (fields, options) => client(options).chat.completions.create({ messages, ...greedy, ...fields });
  await assert.rejects(chat({}, { apiKey: "other" }), (error) => error instanceof OpenAI.AuthenticationError && error.status === 401);
  await assert.rejects(chat({ temperature: 5 }), (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature");
  await assert.rejects(chat({ model: "gpt-4o" }), (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found");
  await assert.rejects(chat({ messages: [] }), (error) => error instanceof OpenAI.BadRequestError && error.param === "messages" && Boolean(error.requestID));
});

test("a full queue, and leaving", async () => {
  await idle();
  const stream = await client().chat.completions.create(long);
  for await (const part of stream) {
    assert.ok(part.choices.length > 0);
    await assert.rejects(client().chat.completions.create({ ...long, stream: false }),
      (error) => error instanceof OpenAI.RateLimitError && Number(error.headers.get("retry-after")) >= 1);
    break; // leaves the stream
  }
  await idle();
});
