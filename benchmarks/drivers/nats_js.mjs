// @nats-io/obj on Node, with its native SHA-256; the same requests as protocol.py's Client.
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { randomFillSync } from "node:crypto";

// The packages are installed in a folder of their own, not beside this file.
const require = createRequire(pathToFileURL(process.argv[3] + "/package.json"));
const { connect } = require("@nats-io/transport-node");
const { Objm, setSha256Backend } = require("@nats-io/obj");
const manifest = `${process.argv[3]}/node_modules/@nats-io/obj/package.json`;
const { version } = JSON.parse(readFileSync(manifest, "utf8"));

const WARM_UP_CALLS = 20;
const MIB = 1024 * 1024;

setSha256Backend("native");
const nc = await connect({ servers: process.argv[2] });
const objm = new Objm(nc);

let data = new Uint8Array(0);
function bytes(size) {
  if (data.length !== size) data = randomFillSync(new Uint8Array(size));
  return data;
}

const now = () => performance.now() / 1000;
const put = (store, name, content) => store.putBlob({ name }, content);
const get = async (store, name) => (await store.getBlob(name)).length;

async function seconds(work) {
  const began = now();
  await work();
  return { seconds: now() - began };
}

async function latencies(count, work, warmUp = WARM_UP_CALLS) {
  for (let i = 0; i < warmUp; i++) await work(-1 - i);
  const result = [];
  for (let i = 0; i < count; i++) {
    const began = now();
    await work(i);
    result.push(now() - began);
  }
  return { latencies: result };
}

async function rate(work, { count, workers, seconds }) {
  await Promise.all(Array.from({ length: workers }, (_, i) => work(-1 - i)));
  let begun = 0;
  let done = 0;
  const began = now();
  async function worker() {
    while (begun < count || now() - began < seconds) {
      begun++;
      await work(begun);
      done++;
    }
  }
  await Promise.all(Array.from({ length: workers }, worker));
  return { rate: done / (now() - began), count: done };
}

async function act(op, a) {
  if (op === "versions") {
    return { versions: { Node: process.versions.node, "@nats-io/obj": version } };
  }
  const store = await objm.open(a.bucket);
  switch (op) {
    case "put_large": {
      const content = bytes(a.size);
      await put(store, "warm-up", content.subarray(0, MIB));
      return await seconds(() => put(store, a.name, content));
    }
    case "get_large": {
      data = new Uint8Array(0);
      await get(store, "warm-up");
      let received = 0;
      const result = await seconds(async () => {
        received = await get(store, a.name);
      });
      if (received !== a.size) throw new Error(`${received} of ${a.size} bytes`);
      return result;
    }
    case "put_small": {
      const content = bytes(a.size);
      return await latencies(a.count, (i) => put(store, `small-${i}`, content));
    }
    case "get_small":
      await put(store, "small", bytes(a.size));
      return await latencies(a.count, () => get(store, "small"), a.warm_up);
    case "put_many": {
      const content = bytes(a.size);
      return await rate((i) => put(store, `many-${i}`, content), a);
    }
    case "get_many":
      for (let i = 0; i < a.workers; i++) await put(store, `many-${i}`, bytes(a.size));
      return await rate((i) => get(store, `many-${Math.abs(i) % a.workers}`), a);
    case "list": {
      let listed = 0;
      const result = await seconds(async () => {
        listed = (await store.list()).length;
      });
      if (listed !== a.count) throw new Error(`${listed} of ${a.count} objects`);
      return result;
    }
  }
  throw new Error(`not implemented: ${op}`);
}

for await (const line of createInterface({ input: process.stdin })) {
  const { op, ...rest } = JSON.parse(line);
  let answer;
  try {
    answer = await act(op, rest);
  } catch (error) {
    answer = { error: `${error.name}: ${error.message}` };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
await nc.close();
