// Playing as editors of videos do it: J K L, single frames, backwards. It also works, silently, without a video.

const playing = {
  time: 0, // seconds of the playhead
  speed: 0, // of J and L: -4 ... 4; 0 stands still

  get length() {
    return model.detail?.seconds ?? 0;
  },

  seek(seconds) {
    const { fps } = model.detail;
    // A tenth into the frame, so that rounding never shows the one before.
    const frame = Math.min(Math.max(Math.floor(seconds * fps + 0.01), 0), Math.max(Math.ceil(this.length * fps) - 1, 0));
    player.seek((frame + 0.1) / fps);
    timeline.follow();
  },

  frames(count) {
    this.stop();
    this.seek(Math.floor(this.time * model.detail.fps + 0.01) / model.detail.fps + count / model.detail.fps);
  },

  seconds(count) {
    this.seek(this.time + count);
  },

  toggle() {
    if (this.speed) this.stop();
    else this.run(1);
  },

  /** J and L: each press doubles the speed, up to four times; the other direction begins anew. */
  shuttle(direction) {
    const isSame = Math.sign(this.speed) === direction;
    this.run(isSame ? direction * Math.min(Math.abs(this.speed) * 2, 4) : direction);
  },

  run(speed) {
    this.speed = speed;
    player.end = null;
    const video = player.isReady && !player.video.hidden ? player.video : null;
    if (speed > 0 && video) {
      video.playbackRate = speed;
      video.play().catch(() => {});
    } else {
      video?.pause();
      this.last = performance.now();
      requestAnimationFrame((now) => this.roll(now));
    }
    showSpeed();
  },

  /** Browsers play no video backwards: go from one time to the other. */
  roll(now) {
    if (!this.speed || (player.isReady && !player.video.paused)) return;
    const next = this.time + (this.speed * (now - this.last)) / 1000;
    // A seek that is under way is let finish, or none ever would.
    if (!player.video.seeking) {
      this.last = now;
      if (next <= 0 || next >= this.length) this.stop();
      player.seek(Math.min(Math.max(next, 0), this.length));
      timeline.follow();
    }
    requestAnimationFrame((later) => this.roll(later));
  },

  stop() {
    this.speed = 0;
    player.video.pause();
    showSpeed();
  },
};

function showSpeed() {
  byId("speed").textContent = playing.speed && playing.speed !== 1 ? `${playing.speed}\u00d7` : "";
  byId("play").setAttribute("aria-pressed", String(playing.speed !== 0));
}

player.onTime = (seconds) => {
  playing.time = Math.min(seconds, playing.length || seconds);
  byId("now").textContent = `${clock(playing.time)} / ${clock(playing.length, { whole: true })}`;
  if (playing.speed) timeline.follow();
  timeline.invalidate();
};
player.video.addEventListener("pause", () => {
  if (playing.speed > 0) playing.speed = 0;
  showSpeed();
});
player.video.addEventListener("ended", () => playing.stop());
// A file may be longer than anybody said.
player.onLength = (seconds) => {
  if (player.video.videoWidth === 0) return player.video.dispatchEvent(new Event("error")); // sound alone is played
  if (!Number.isFinite(seconds) || seconds <= model.detail.seconds + 0.05) return;
  model.detail.seconds = seconds;
  timeline.layout();
};
player.whyUnplayable = () => {
  const { problem, codec } = model.detail;
  if (problem) return problem;
  return (
    `This browser does not play ${isolated(model.video.id)}: ${codec}. The timeline works without it. ` +
    "End the review and call it again with --convert, which makes copies that every browser plays."
  );
};
