// One desktop: a connection that comes back by itself, shown in an element of the page.
import RFB from "./novnc/core/rfb.js";
import { Picture } from "./picture.js";

const RETRY = [300, 600, 1000, 2000, 3000]; // milliseconds

export class Screen extends EventTarget {
  constructor(node, { live = true, viewOnly = false, fit = true } = {}) {
    super();
    this.node = node;
    this.live = live; // false: a small picture, never an input
    this.viewOnly = viewOnly || !live;
    this.fit = fit;
    this.clipboard = "";
    this.failures = 0;
    this.closed = false;
    this.element = document.createElement("div");
    this.element.className = live ? "screen" : "";
    this.place = document.createElement("div");
    this.place.className = "rfb";
    this.element.append(this.place);
    if (live) {
      this.veil = document.createElement("div");
      this.veil.className = "veil";
      this.veil.append(document.createElement("span"));
      this.element.append(this.veil);
    }
    this.show("connecting", `connecting to ${node.name} …`);
  }

  connect() {
    if (this.closed || this.rfb) return;
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const url = new URL(`screen/${encodeURIComponent(this.node.name)}`, location.href);
    url.protocol = scheme;
    url.hash = "";
    this.refused = null;
    const rfb = new RFB(this.place, url.href, {
      credentials: { password: this.node.password },
      shared: true,
      wsProtocols: ["binary", `token.${this.node.token}`],
    });
    this.rfb = rfb;
    rfb.background = "transparent";
    rfb.viewOnly = this.viewOnly;
    rfb.scaleViewport = true;
    rfb.resizeSession = this.live && this.fit && !this.viewOnly;
    rfb.focusOnClick = this.live;
    if (!this.live) {
      rfb.qualityLevel = 3;
      rfb.compressionLevel = 9;
    }
    rfb.addEventListener("connect", () => {
      this.failures = 0;
      this.show("connected", "");
      if (!this.live) this.picture = new Picture(this.place.querySelector("canvas"), this.element.parentElement);
      if (this.element.dataset.open === "true") this.focus();
    });
    rfb.addEventListener("securityfailure", (event) => {
      this.refused = event.detail.reason || "the desktop refused the password";
    });
    rfb.addEventListener("credentialsrequired", () => {
      this.refused = "the desktop asks for another password";
      rfb.disconnect();
    });
    rfb.addEventListener("clipboard", (event) => {
      this.clipboard = event.detail.text;
      this.dispatchEvent(new CustomEvent("clipboard", { detail: event.detail.text }));
    });
    rfb.addEventListener("disconnect", () => this.lost(rfb));
  }

  lost(rfb) {
    if (this.rfb === rfb) this.rfb = null;
    this.dropPicture();
    this.place.replaceChildren();
    if (this.closed) return;
    const pause = RETRY[Math.min(this.failures, RETRY.length - 1)];
    this.failures += 1;
    if (this.refused) this.show("refused", `${this.node.name}: ${this.refused}`);
    else this.show("waiting", `${this.node.name} does not answer; trying again …`);
    this.dispatchEvent(new CustomEvent("lost"));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), this.refused ? 3000 : pause);
  }

  dropPicture() {
    this.picture?.close();
    this.picture = null;
  }

  show(state, text) {
    this.element.dataset.screen = state;
    if (!this.veil) return;
    this.veil.hidden = !text;
    this.veil.firstChild.textContent = text;
  }

  // Follow the window's size with the desktop's own, or only scale the picture.
  setFit(fit) {
    this.fit = fit;
    if (this.rfb) this.rfb.resizeSession = fit && this.live && !this.viewOnly;
  }

  focus() {
    this.rfb?.focus();
  }

  send(text) {
    if (!this.viewOnly && this.rfb && text && text !== this.clipboard) {
      this.clipboard = text;
      this.rfb.clipboardPasteFrom(text);
    }
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.dropPicture();
    this.rfb?.disconnect();
    this.element.remove();
  }
}
