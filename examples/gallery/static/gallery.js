// The grid is the bucket of thumbnails: loaded once, then kept up to date by its changes.

const $ = (id) => document.getElementById(id);
const url = (path, name, more = "") => `${path}/${encodeURIComponent(name)}${more}`;
const grid = $("grid");

const tiles = new Map(); // name -> {tile, node}
const uploads = new Set(); // of what upload() makes
let largest = Infinity;

// --- text

const bytes = (size) => {
  const units = ["B", "KB", "MB", "GB"];
  let step = 0;
  for (; size >= 1000 && step < units.length - 1; step += 1) size /= 1000;
  return `${size < 10 && step ? size.toFixed(1) : Math.round(size)} ${units[step]}`;
};
const pixels = (tile) => (tile.error ? "" : `${tile.width} × ${tile.height} · `);
// The same text twice would not be read out again.
const announce = (text) => ($("news").textContent = $("news").textContent === text ? `${text} ` : text);

function summarize() {
  const known = [...tiles.values()].map(({ tile }) => tile);
  const size = known.reduce((sum, tile) => sum + tile.size, 0);
  $("count").textContent = `${known.length} photo${known.length === 1 ? "" : "s"}${size ? `, ${bytes(size)}` : ""}`;
  $("empty").hidden = known.length + uploads.size > 0;
}

// --- tiles

const ratio = (width, height) => String(Math.min(2.2, Math.max(0.62, width / height || 1.5)));

function draw(tile) {
  const node = $("tile").content.firstElementChild.cloneNode(true);
  const find = (selector) => node.querySelector(selector);
  // Names are anybody's text: they are only ever set as text, or percent-encoded.
  node.dataset.name = tile.name;
  node.style.setProperty("--ratio", tile.error ? 1 : ratio(tile.width, tile.height));
  find(".name").textContent = tile.name;
  find(".name").title = tile.name;
  find(".pixels").textContent = pixels(tile);
  find(".bytes").textContent = bytes(tile.size);
  find(".download").href = url("/photos", tile.name);
  find(".download").ariaLabel = `Download ${tile.name}`;
  find(".delete").ariaLabel = `Delete ${tile.name}`;
  find(".delete").onclick = () => remove(tile.name);
  if (tile.error) {
    node.classList.add("failed");
    find(".reason").textContent = tile.error;
    find(".open").disabled = true;
  } else {
    find("img").alt = tile.name;
    find("img").src = url("/thumbs", tile.name, `?v=${tile.revision}`);
    find(".open").onclick = () => view(tile);
  }
  return node;
}

// Newest first, behind what is being uploaded.
function place(entry) {
  for (const node of grid.children) {
    const other = node.classList.contains("upload") ? null : tiles.get(node.dataset.name);
    if (other && other !== entry && other.tile.photo < entry.tile.photo) {
      grid.insertBefore(entry.node, node);
      return;
    }
  }
  grid.append(entry.node);
}

function apply(tile) {
  const before = tiles.get(tile.name);
  // An object's revision only grows, so what comes late or twice is known by it.
  if (before && before.tile.revision >= tile.revision) return;
  before?.node.remove();
  tiles.delete(tile.name);
  if (tile.deleted) {
    if (before) announce(`${tile.name} was deleted`);
    if (viewed === tile.name) $("viewer").close();
  } else {
    const entry = { tile, node: draw(tile) };
    tiles.set(tile.name, entry);
    const upload = [...uploads].find((one) => one.name === tile.name && one.photo <= tile.photo);
    if (upload) {
      upload.node.replaceWith(entry.node);
      upload.end();
      announce(tile.error ? `${tile.name}: ${tile.error}` : `${tile.name} was uploaded`);
    } else place(entry);
  }
  summarize();
}

// --- live

let loading = null; // the changes that came while the list is being loaded
let pause = 500;

async function load() {
  if (loading) return void (loading.again = true);
  loading = { changes: [], again: false };
  const { changes } = loading;
  try {
    const response = await fetch("/tiles");
    if (!response.ok) throw new Error(`the list: ${response.status}`);
    const list = await response.json();
    largest = list.largest;
    const now = new Map(list.tiles.map((tile) => [tile.name, tile.revision]));
    for (const [name, { tile, node }] of tiles) {
      // Gone, or of a bucket that was made anew and counts from its start.
      if (!(now.get(name) >= tile.revision)) {
        node.remove();
        tiles.delete(name);
      }
    }
    list.tiles.sort((one, other) => one.photo - other.photo).forEach(apply);
    pause = 500;
    state("on");
  } catch {
    state("off");
    pause = Math.min(pause * 2, 8000);
    setTimeout(load, pause);
  }
  const { again } = loading;
  loading = null;
  changes.forEach(apply);
  summarize();
  if (again) load();
}

function state(name) {
  $("live").dataset.state = name;
  $("live").textContent = name === "on" ? "Live" : "Reconnecting …";
}

function listen() {
  const source = new EventSource("/events");
  // What happened while nobody listened is in the list.
  source.onopen = load;
  source.addEventListener("reload", load);
  source.addEventListener("tile", ({ data }) => {
    const tile = JSON.parse(data);
    if (loading) loading.changes.push(tile);
    else apply(tile);
  });
  source.onerror = () => {
    state("off");
    // It comes back by itself after a lost connection, but not after an answer of another kind.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  };
}

// --- uploads

const queue = [];
let running = 0;

function upload(file) {
  const node = $("upload").content.firstElementChild.cloneNode(true);
  const find = (selector) => node.querySelector(selector);
  const request = new XMLHttpRequest();
  const preview = file.type.startsWith("image/") ? URL.createObjectURL(file) : null;
  const one = {
    name: file.webkitRelativePath || file.name,
    node,
    photo: Infinity, // its revision, once it is stored
    end() {
      uploads.delete(one);
      node.remove();
      if (preview) URL.revokeObjectURL(preview);
    },
  };
  const fail = (reason) => {
    node.classList.add("failed");
    find(".state").textContent = reason;
    announce(`${one.name}: ${reason}`);
  };
  const say = (text, value) => {
    find(".state").textContent = text;
    if (value === undefined) find("progress").removeAttribute("value");
    else find("progress").value = value;
  };
  find(".name").textContent = one.name;
  find(".name").title = one.name;
  find(".bytes").textContent = bytes(file.size);
  find("progress").ariaLabel = `Upload of ${one.name}`;
  find(".cancel").ariaLabel = `Cancel ${one.name}`;
  find(".cancel").onclick = () => {
    queue.splice(0, queue.length, ...queue.filter((start) => start !== begin));
    one.end();
    request.abort();
    summarize();
  };
  if (preview) {
    find("img").onload = ({ target }) =>
      node.style.setProperty("--ratio", ratio(target.naturalWidth, target.naturalHeight));
    find("img").onerror = ({ target }) => target.removeAttribute("src");
    find("img").src = preview;
  }

  function begin() {
    running += 1;
    say("Uploading 0 %", 0);
    request.open("PUT", url("/photos", one.name));
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => {
      const share = total ? loaded / total : 1;
      if (share < 1) say(`Uploading ${Math.floor(share * 100)} %`, share);
      else say("Storing …");
    };
    request.onload = () => {
      if (![201, 204].includes(request.status)) return fail(request.response?.detail ?? `Failed: ${request.status}`);
      say("Making a thumbnail …");
      // An ETag begins with the object's revision.
      one.photo = parseInt(request.getResponseHeader("ETag").slice(1));
      // The thumbnail may have been faster than this answer.
      const made = tiles.get(one.name);
      if (made && made.tile.photo >= one.photo) {
        node.replaceWith(made.node);
        one.end();
        announce(`${one.name} was uploaded`);
        summarize();
      }
    };
    request.onerror = () => fail("The connection was lost");
    request.onloadend = () => {
      running -= 1;
      next();
    };
    request.send(file);
  }

  uploads.add(one);
  grid.prepend(node);
  if (file.size > largest) fail(`Too large: at most ${bytes(largest)}`);
  else queue.push(begin);
}

function next() {
  // A browser opens six connections to a server, and one of them is the event stream.
  while (running < 3 && queue.length) queue.shift()();
}

function take(files) {
  [...files].forEach(upload);
  summarize();
  next();
}

$("files").onchange = ({ target }) => {
  take(target.files);
  target.value = "";
};
$("choose").onclick = $("choose-first").onclick = () => $("files").click();

const hasFiles = (drag) => drag.dataTransfer?.types.includes("Files");
addEventListener("dragover", (drag) => {
  if (!hasFiles(drag)) return;
  drag.preventDefault();
  $("drop").classList.add("over");
});
addEventListener("dragleave", (drag) => {
  if (!drag.relatedTarget) $("drop").classList.remove("over");
});
addEventListener("drop", (drag) => {
  if (!hasFiles(drag)) return;
  drag.preventDefault();
  $("drop").classList.remove("over");
  take(drag.dataTransfer.files);
});

// --- one photo

let viewed = null;

function view(tile) {
  viewed = tile.name;
  $("viewer-name").textContent = tile.name;
  $("viewer-facts").textContent = pixels(tile) + bytes(tile.size);
  $("viewer-image").alt = tile.name;
  $("viewer-image").src = url("/photos", tile.name, `?v=${tile.photo}`);
  $("viewer-download").href = url("/photos", tile.name);
  $("viewer-delete").onclick = () => remove(tile.name);
  if (!$("viewer").open) $("viewer").showModal();
}

$("viewer-close").onclick = () => $("viewer").close();
$("viewer").onclick = ({ target }) => {
  if (target === $("viewer")) $("viewer").close();
};
$("viewer").onclose = () => {
  viewed = null;
  $("viewer-image").removeAttribute("src");
};
$("viewer").onkeydown = ({ key }) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
  const shown = [...grid.querySelectorAll(".tile:not(.upload, .failed)")].map((node) => node.dataset.name);
  const name = step && shown[shown.indexOf(viewed) + step];
  if (name !== undefined && tiles.has(name)) view(tiles.get(name).tile);
};

function remove(name) {
  const question = $("confirm");
  $("confirm-name").textContent = name;
  question.returnValue = "";
  question.onclose = async () => {
    if (question.returnValue !== "yes") return;
    try {
      const response = await fetch(url("/photos", name), { method: "DELETE" });
      if (!response.ok && ![404, 410].includes(response.status)) throw new Error();
      const gone = tiles.get(name);
      if (gone) apply({ ...gone.tile, revision: gone.tile.revision + 1, deleted: true });
    } catch {
      announce(`${name} could not be deleted; try again.`);
    }
  };
  question.showModal();
}

listen();
