// @nats-io/obj, driven over standard input and output.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The packages are installed in a folder of their own, not beside this file.
const require = createRequire(pathToFileURL(process.argv[3] + "/package.json"));
const { connect, headers } = require("@nats-io/transport-node");
const { Objm } = require("@nats-io/obj");

const nc = await connect({ servers: process.argv[2] });
const objm = new Objm(nc);

function headersOf(record) {
  if (!record) return undefined;
  const result = headers();
  for (const [key, values] of Object.entries(record)) {
    for (const value of values) result.append(key, value);
  }
  return result;
}

async function act(op, bucket, a) {
  if (op === "create") {
    await objm.create(bucket);
    return null;
  }
  const store = await objm.open(bucket);
  switch (op) {
    case "put": {
      const meta = { name: a.name, description: a.description, metadata: a.metadata };
      meta.headers = headersOf(a.headers);
      if (a.chunk_size) meta.options = { max_chunk_size: a.chunk_size };
      await store.putBlob(meta, new Uint8Array(Buffer.from(a.data, "base64")));
      return null;
    }
    case "get": {
      const blob = await store.getBlob(a.name);
      if (blob === null) throw new Error("not found");
      return Buffer.from(blob).toString("base64");
    }
    case "info": {
      const info = await store.info(a.name);
      if (info === null || info.deleted) throw new Error("not found");
      const link = info.options?.link;
      const record = {};
      for (const [key, values] of info.headers ?? []) record[key] = values;
      return {
        size: info.size,
        chunks: info.chunks,
        digest: info.digest,
        description: info.description,
        headers: record,
        metadata: info.metadata,
        link: link ? [link.bucket, link.name ?? null] : null,
      };
    }
    case "list":
      return (await store.list()).map((info) => info.name).sort();
    case "watch": {
      const seen = [];
      const watcher = await store.watch();
      const timer = setTimeout(() => watcher.stop(), 5000);
      for await (const info of watcher) {
        if (info === null) continue;
        seen.push([info.name, Boolean(info.deleted)]);
        if (info.name === a.until) break;
      }
      clearTimeout(timer);
      watcher.stop();
      return seen;
    }
    case "delete":
      await store.delete(a.name);
      return null;
    case "rename":
      await store.update(a.name, { name: a.to });
      return null;
    case "describe":
      await store.update(a.name, { description: a.description });
      return null;
    case "link":
      await store.link(a.name, await store.info(a.target));
      return null;
    case "link_bucket":
      await store.linkStore(a.name, await objm.open(a.other));
      return null;
  }
  throw new Error(`not implemented: ${op}`);
}

for await (const line of createInterface({ input: process.stdin })) {
  const { op, bucket, ...rest } = JSON.parse(line);
  let answer;
  try {
    answer = { ok: await act(op, bucket, rest) };
  } catch (error) {
    answer = { error: `${error.name}: ${error.message}` };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
await nc.close();
