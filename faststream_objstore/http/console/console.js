"use strict";

const PAGE = 100;
const SHOWN_CHANGES = 200;
const TEXT_BYTES = 64 * 1024;
const $ = (id) => document.getElementById(id);

let bucket = null;
let prefix = "";
let after = null;
const writable = new Set();
let chosen = null;
let listings = 0;
let listingTook = 0;
let listedAt = 0;
let stale = 0;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit += 1; }
  return `${unit && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

function age(seconds) {
  if (seconds < 0.05) return "0 s";
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

const when = (text) => (text ? new Date(text).toLocaleString() : "");
const path = (name) => name.split("/").map(encodeURIComponent).join("/");

// Browsers remove such segments from a path, which would then lead to another object.
function address(name) {
  const removed = name.split("/").some((part) => ["", ".", ".."].includes(part));
  return `objects/${bucket}/${removed ? encodeURIComponent(name) : path(name)}`;
}

function say(text, kind = "") {
  $("message").textContent = text;
  $("message").className = kind;
}

async function refusalOf(response) {
  try { return (await response.json()).detail ?? response.statusText; }
  catch { return response.statusText || `status ${response.status}`; }
}

// Where one is stands in the address, so that "back" works, and a place can be passed on.
function go(toBucket, toPrefix = "") {
  location.hash = `${toBucket}/${path(toPrefix)}`;
}

function arrive() {
  const [first, ...rest] = location.hash.slice(1).split("/");
  if (!first) return;
  bucket = first;
  prefix = rest.map(decodeURIComponent).join("/");
  closePreview();
  offer();
  crumbs();
  mark();
  list();
}

// What may be changed is known from the first state on, which may arrive after a preview.
function offer() {
  $("upload").hidden = !writable.has(bucket);
  $("delete").hidden = !chosen || !hasAddress(chosen) || !writable.has(bucket);
}

function hasAddress(object) {
  return ![".", ".."].includes(object.name);
}

function crumbs() {
  const steps = prefix.split("/").slice(0, -1);
  const links = [element("a", { href: `#${bucket}/`, textContent: bucket })];
  steps.forEach((step, index) => {
    const to = steps.slice(0, index + 1).join("/") + "/";
    links.push(element("a", { href: `#${bucket}/${path(to)}`, textContent: step || "(empty)" }));
  });
  links.at(-1).setAttribute("aria-current", "page");
  $("crumbs").replaceChildren(...links.flatMap((link, index) => (index ? ["/", link] : [link])));
}

async function list(from = null, quiet = false) {
  const number = ++listings;
  const began = performance.now();
  const query = new URLSearchParams({ prefix, delimiter: "/", limit: PAGE });
  if (from !== null) query.set("after", from);
  if (!quiet) say("Loading");
  let page;
  try {
    const response = await fetch(`objects/${bucket}/?${query}`);
    if (number !== listings) return;
    if (!response.ok) { say(await refusalOf(response), "bad"); return; }
    page = await response.json();
  } catch (error) { say(`The service does not answer: ${error.message}`, "bad"); return; }
  if (number !== listings) return;
  listedAt = performance.now();
  listingTook = listedAt - began;
  stale = 0;
  const rows = [
    ...page.folders.map((name) => [name, folderRow(name)]),
    ...page.objects.map((object) => [object.name, objectRow(object)]),
  ].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, row]) => row);
  const held = document.activeElement?.closest?.("#objects tr")?.dataset.name;
  if (from === null) $("objects").replaceChildren(...rows);
  else { $("objects").append(...rows); rows[0]?.querySelector("button").focus(); }
  if (held !== undefined && from === null) {
    [...$("objects").rows].find((row) => row.dataset.name === held)?.querySelector("button").focus();
  }
  after = page.after;
  $("more").hidden = after === null;
  if (!quiet) say($("objects").rows.length ? "" : "There is nothing here.");
}

function row(name, label, act, ...cells) {
  const button = element("button", { type: "button", className: "name", textContent: label });
  button.addEventListener("click", act);
  const made = element("tr", {}, element("td", {}, button), ...cells);
  made.dataset.name = name;
  return made;
}

function folderRow(name) {
  return row(name, name.slice(prefix.length), () => go(bucket, name),
    element("td", { className: "number", textContent: "–" }), element("td"));
}

function objectRow(object) {
  return row(object.name, object.name.slice(prefix.length), () => preview(object),
    element("td", { className: "number", textContent: size(object.size) }),
    element("td", { className: "when", textContent: when(object.modified) }));
}

async function preview(object) {
  chosen = object;
  const url = address(object.name);
  const reachable = hasAddress(object);
  $("preview").hidden = false;
  $("preview-name").textContent = object.name;
  $("preview-body").replaceChildren();
  $("preview-facts").replaceChildren();
  $("download").hidden = !reachable;
  $("download").href = url;
  $("download").setAttribute("aria-label", `Download ${object.name}`);
  offer();
  $("delete").setAttribute("aria-label", `Delete ${object.name}`);
  $("preview-name").tabIndex = -1;
  $("preview-name").focus();
  let body, type = "";
  try {
    if (!reachable) throw new Error(`no URL leads to an object named ${object.name}`);
    const head = await fetch(url, { method: "HEAD" });
    if (chosen !== object) return;
    // The version that is shown, which the list may not have yet; it is what Delete deletes.
    if (head.ok) {
      object.etag = head.headers.get("etag");
      object.size = Number(head.headers.get("content-length"));
      object.modified = head.headers.get("last-modified");
    }
    type = (head.headers.get("content-type") ?? "").split(";")[0];
    if (!head.ok) throw new Error(head.statusText || `status ${head.status}`);
    facts({ Type: type, Size: `${size(object.size)} (${object.size.toLocaleString()} bytes)`, Modified: when(object.modified), ETag: object.etag });
    body = await shown(object, url, type);
  } catch (error) { body = element("p", { className: "bad", textContent: `It cannot be shown: ${error.message}` }); }
  if (chosen === object) $("preview-body").replaceChildren(body);
}

function facts(all) {
  $("preview-facts").replaceChildren(...Object.entries(all).flatMap(([term, text]) => [
    element("dt", { textContent: term }), element("dd", { textContent: text }),
  ]));
}

async function shown(object, url, type) {
  const [kind] = type.split("/");
  if (kind === "image") return element("img", { src: url, alt: object.name });
  if (kind === "video" || kind === "audio") {
    const player = element(kind, { src: url, controls: true });
    player.setAttribute("aria-label", object.name);
    return player;
  }
  if (kind !== "text" && !/[/+](json|xml|javascript|yaml|toml)$/.test(type)) {
    return element("p", { textContent: "There is no preview of this type." });
  }
  const whole = object.size <= TEXT_BYTES;
  const headers = whole ? {} : { Range: `bytes=0-${TEXT_BYTES - 1}` };
  let text = await (await fetch(url, { headers })).text();
  if (whole && type.endsWith("json")) {
    try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* shown as it is */ }
  }
  if (!whole) text += `\n… the first ${size(TEXT_BYTES)} of ${size(object.size)}`;
  return element("pre", { textContent: text, tabIndex: 0 });
}

function closePreview() {
  chosen = null;
  $("preview").hidden = true;
  $("preview-body").replaceChildren();
}

async function remove() {
  const object = chosen;
  if (!object || !confirm(`Delete ${object.name}?`)) return;
  const response = await fetch(address(object.name), { method: "DELETE", headers: { "If-Match": object.etag } });
  if (!response.ok) { say(`${object.name} was not deleted: ${await refusalOf(response)}`, "bad"); return; }
  closePreview();
  await list();
  say(`${object.name} is deleted.`);
  $("refresh").focus();
}

async function upload(files) {
  for (const file of files) {
    const name = prefix + file.name;
    say(`Uploading ${file.name} (${size(file.size)})`);
    const send = (more) => fetch(address(name), {
      method: "PUT", body: file, headers: { "Content-Type": file.type || "application/octet-stream", ...more },
    });
    try {
      let response = await send({ "If-None-Match": "*" });
      if (response.status === 412) {
        if (!confirm(`Replace ${name}?`)) continue;
        response = await send({});
      }
      if (!response.ok) { say(`${name} was not stored: ${await refusalOf(response)}`, "bad"); return; }
    } catch (error) { say(`${name} was not stored: ${error.message}`, "bad"); return; }
  }
  await list();
  say(files.length === 1 ? `${files[0].name} is stored.` : `${files.length} files are stored.`);
}

function mark() {
  for (const button of $("buckets").querySelectorAll("button")) {
    if (button.dataset.bucket === bucket) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

function bucketButton(name) {
  let button = $("buckets").querySelector(`[data-bucket="${name}"]`);
  if (!button) {
    button = element("button", { type: "button" },
      element("strong", { textContent: name }), element("span", { className: "facts" }));
    button.dataset.bucket = name;
    button.addEventListener("click", () => go(name));
    $("buckets").append(element("li", {}, button));
  }
  return button;
}

function showBucket(one) {
  const button = bucketButton(one.name);
  const objects = one.objects === null ? "" : `${one.objects.toLocaleString()} object${one.objects === 1 ? "" : "s"}, `;
  const limit = one.max_bytes === null ? "" : ` of ${size(one.max_bytes)}`;
  const facts = button.querySelector(".facts");
  facts.textContent = one.problem ?? `${objects}${size(one.bytes)}${limit}`;
  facts.classList.toggle("bad", one.problem !== null);
  button.title = one.description ?? "";
  let meter = button.querySelector("meter");
  if (one.max_bytes === null || one.bytes === null) { meter?.remove(); return; }
  if (!meter) {
    meter = element("meter", { min: 0, max: 1, low: 0.7, high: 0.9, optimum: 0 });
    meter.setAttribute("aria-label", `${one.name}: used`);
    button.append(meter);
  }
  meter.value = one.bytes / one.max_bytes;
  meter.textContent = `${Math.round((100 * one.bytes) / one.max_bytes)} %`;
}

function subscriberRow(one) {
  const at = one.standing;
  const cell = (text, className = "") => element("td", { textContent: text, className });
  const number = (value) => cell(at ? value.toLocaleString() : "–", "number");
  const state = one.problem ?? (one.receiving === false ? "stopped" : "receiving");
  const outcomes = Object.entries(one.outcomes).map(([what, count]) => `${what.replace("_", " ")} ${count.toLocaleString()}`).join(", ");
  return element("tr", {},
    element("th", { scope: "row", textContent: one.handler }),
    cell(one.title), cell(one.durable ?? "–"),
    cell(at ? age(at.oldest) : "–", `number ${at && at.oldest > 60 ? "warm" : ""}`),
    number(at?.pending), number(at?.in_work),
    cell(at ? at.redelivered.toLocaleString() : "–", `number ${at?.redelivered ? "warm" : ""}`),
    cell(state, one.problem || one.receiving === false ? "bad" : "good"), cell(outcomes));
}

async function refreshState() {
  try {
    const response = await fetch("state");
    if (!response.ok) throw new Error(await refusalOf(response));
    const state = await response.json();
    writable.clear();
    for (const one of state.buckets) if (one.writable) writable.add(one.name);
    offer();
    state.buckets.forEach(showBucket);
    mark();
    $("subscribers").replaceChildren(...state.subscribers.map(subscriberRow));
    const count = state.problems.length;
    const text = count ? `${count} problem${count === 1 ? "" : "s"}` : "In order";
    if ($("health").textContent !== text) $("health").textContent = text;
    $("health").className = count ? "bad" : "good";
    $("problems").hidden = !count;
    $("problems").replaceChildren(...state.problems.map((one) => element("li", {
      textContent: `${[one.bucket, one.durable, one.object].filter(Boolean).join(", ")}${one.bucket ? ": " : ""}${one.problem.replaceAll("_", " ")} – ${one.detail}`,
    })));
    if (bucket === null && state.buckets.length && !location.hash.slice(1)) go(state.buckets[0].name);
  } catch (error) {
    $("health").textContent = `The service does not answer: ${error.message}`;
    $("health").className = "bad";
  }
}

function add(text, time = new Date(), className = "") {
  const item = element("li", { className }, element("time", { textContent: `${time.toLocaleTimeString()} ` }), text);
  $("feed").prepend(item);
  while ($("feed").children.length > SHOWN_CHANGES) $("feed").lastChild.remove();
}

function follow() {
  const source = new EventSource("changes");
  const live = (text, kind) => { $("live").textContent = text; $("live").className = kind; };
  source.addEventListener("following", () => live("Live", "good"));
  source.addEventListener("error", () => live("Reconnecting", "warm"));
  source.addEventListener("lost", (event) => {
    const { bucket: of, why } = JSON.parse(event.data);
    live(`No changes of ${of}: ${why}`, "bad");
  });
  source.addEventListener("missed", (event) => {
    add(`${JSON.parse(event.data).count} changes are not shown: too many at a time`, new Date(), "warm");
  });
  source.addEventListener("change", (event) => {
    const one = JSON.parse(event.data);
    const what = one.expired ? "expired" : one.deleted ? "deleted" : "put";
    add(`${what} ${one.bucket}/${one.name}${one.deleted ? "" : ` (${size(one.size)})`}`, one.time ? new Date(one.time) : new Date(), one.deleted ? "bad" : "");
    if (one.bucket === bucket && one.name.startsWith(prefix)) stale += 1;
  });
}

// A listing that takes long, of a bucket with very many objects, is repeated seldom.
function keepListing() {
  const first = $("objects").rows.length <= PAGE;
  const rested = performance.now() - listedAt > 10 * listingTook;
  if (stale && first && rested && !document.hidden) list(null, true);
}

$("more").addEventListener("click", () => list(after));
$("refresh").addEventListener("click", () => list());
$("close").addEventListener("click", () => {
  const name = chosen?.name;
  closePreview();
  [...$("objects").rows].find((one) => one.dataset.name === name)?.querySelector("button").focus();
});
$("delete").addEventListener("click", remove);
$("files").addEventListener("change", async (event) => {
  const files = [...event.target.files];
  event.target.value = "";
  await upload(files);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && chosen) $("close").click();
});
addEventListener("hashchange", arrive);

arrive();
refreshState();
setInterval(() => { if (!document.hidden) refreshState(); }, 2000);
setInterval(keepListing, 1000);
follow();
