// What the page of test_browser.py does.

const happened = (target, name) =>
  new Promise((resolve, reject) => {
    target.addEventListener(name, resolve, { once: true });
    target.addEventListener("error", () => reject(new Error(target.error?.message)), { once: true });
  });

async function seek(kind, src, to) {
  const media = Object.assign(document.createElement(kind), { muted: true, preload: "metadata", src });
  document.body.append(media);
  await happened(media, "loadedmetadata");
  const seeked = happened(media, "seeked");
  media.currentTime = to;
  await seeked;
  return media;
}

async function playSound(src, to) {
  const media = await seek("audio", src, to);
  return [media.duration, media.currentTime];
}

async function playVideo(src, to) {
  const video = await seek("video", src, to);
  await video.play();
  while (video.currentTime <= to) await happened(video, "timeupdate");
  return [video.videoWidth, video.videoHeight];
}

// A video of some seconds, which the browser makes of a canvas.
async function recordVideo(milliseconds) {
  const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 240 });
  const context = canvas.getContext("2d");
  const recorder = new MediaRecorder(canvas.captureStream(30), { mimeType: "video/webm", videoBitsPerSecond: 4e6 });
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const ended = happened(recorder, "stop");
  recorder.start(100);
  const begun = performance.now();
  while (performance.now() - begun < milliseconds) {
    for (let i = 0; i < 200; i += 1) {
      context.fillStyle = `hsl(${Math.random() * 360} 80% 50%)`;
      context.fillRect(Math.random() * 320, Math.random() * 240, 20, 20);
    }
    await new Promise(requestAnimationFrame);
  }
  recorder.stop();
  await ended;
  let text = "";
  for (const byte of new Uint8Array(await new Blob(parts).arrayBuffer())) text += String.fromCharCode(byte);
  return btoa(text);
}

async function showImage(src) {
  const image = Object.assign(new Image(), { src });
  await image.decode();
  return [image.naturalWidth, image.naturalHeight];
}

function upload(path, size) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const seen = [];
    request.upload.onprogress = ({ loaded, total }) => seen.push(loaded / total);
    request.onload = () => resolve([seen, request.status, request.getResponseHeader("ETag")]);
    request.onerror = () => reject(new Error("the connection was lost"));
    request.open("PUT", path);
    request.send(new Blob([new Uint8Array(size)]));
  });
}
