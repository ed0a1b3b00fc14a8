// The video beside the timeline. Everything here also works, silently, where there is no video.

const player = {
  video: byId("player"),
  end: null, // seconds at which a played segment ends
  onTime: () => {},
  onLength: () => {},
  whyUnplayable: () =>
    "The browser cannot play this file: it is no longer where it was, or of a kind that browsers do not know " +
    "(H.264 in MP4 and WebM work everywhere).",
  url: null,

  /** Show a video of the page; `video` is one of data.videos. */
  load(video) {
    if (!this.video) return;
    this.end = null;
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = video.embedded ? embeddedUrl(video.embedded) : null;
    const source = this.url ?? video.file ?? null;
    this.video.hidden = !source;
    byId("no-video").hidden = Boolean(source);
    if (source) {
      this.video.src = source;
    } else {
      this.video.removeAttribute("src");
      this.video.load();
      byId("no-video").textContent = `No file for ${isolated(video.id)}; looked for ${isolated(data.lookedFor)}.`;
    }
  },

  /** Whether there is something to play. */
  get isReady() {
    return Boolean(this.video?.hasAttribute("src"));
  },

  seek(seconds) {
    this.end = null;
    if (this.isReady) this.video.currentTime = seconds;
    this.onTime(seconds);
  },

  /** Play from `start` and pause at `end`. */
  play(start, end) {
    this.seek(start);
    this.end = end;
    if (this.isReady) this.video.play().catch(() => {});
  },

  toggle() {
    if (!this.isReady) return;
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  },

  /** Tell where the video is, and stop where a segment ends. */
  tick() {
    const now = this.video.currentTime;
    if (this.end !== null && now >= this.end && !this.video.paused) {
      this.video.pause();
      this.end = null;
    }
    this.onTime(now);
  },
};

/** Videos in the page are base64 text; as a blob the browser can seek in them. */
function embeddedUrl(id) {
  const element = byId(id);
  const text = atob(element.textContent);
  const bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
  return URL.createObjectURL(new Blob([bytes], { type: element.dataset.kind }));
}

if (player.video) {
  const follow = () => {
    player.tick();
    if (!player.video.paused) requestAnimationFrame(follow);
  };
  player.video.addEventListener("play", follow);
  // The browser calls no animation frames in a hidden tab, but tells the time now and then.
  player.video.addEventListener("timeupdate", () => player.tick());
  player.video.addEventListener("loadedmetadata", () => player.onLength(player.video.duration));
  player.video.addEventListener("error", () => {
    if (!player.isReady) return;
    player.video.hidden = true;
    byId("no-video").hidden = false;
    byId("no-video").textContent = player.whyUnplayable();
  });
}
