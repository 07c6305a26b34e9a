// A small picture of a desktop: noVNC's canvas drawn again at the size it is shown at. A browser that scales a canvas
// itself takes one pixel of five, and no text survives that.
const PAUSE = 250; // milliseconds between two drawings

export class Picture {
  constructor(source, place) {
    this.source = source;
    this.place = place;
    this.copy = document.createElement("canvas");
    this.copy.className = "copy";
    place.append(this.copy);
    // noVNC tells nobody when it has drawn; whatever it draws, it draws with this.
    const context = source.getContext("2d");
    const draw = context.drawImage;
    context.drawImage = (...what) => {
      draw.apply(context, what);
      this.later();
    };
    this.sizes = new ResizeObserver(() => this.later());
    this.sizes.observe(place);
    this.later();
  }

  later() {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.draw();
    }, PAUSE);
  }

  draw() {
    const { source, copy, place } = this;
    if (!source.width || !source.height || !place.clientWidth) return;
    // The place takes the desktop's shape, so that nothing of it stays empty.
    place.style.aspectRatio = `${source.width} / ${source.height}`;
    const width = Math.min(source.width, Math.round(place.clientWidth * devicePixelRatio));
    const height = Math.round((width * source.height) / source.width);
    if (copy.width !== width || copy.height !== height) Object.assign(copy, { width, height });
    const context = copy.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(source, 0, 0, width, height);
  }

  close() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.later = () => {};
    this.sizes.disconnect();
    this.copy.remove();
  }
}
