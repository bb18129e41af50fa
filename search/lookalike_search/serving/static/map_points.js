// The points of a map: typed arrays as the server packs them (`pages/map_points.py`), and what is near a place.
const CELLS_PER_POINT = 0.5;

export class Points {
  constructor(bytes) {
    const [count] = new Uint32Array(bytes, 0, 2);
    let at = 8;
    const take = kind => {
      const array = new kind(bytes, at, count);
      at += 4 * count;
      return array;
    };
    this.count = count;
    this.x = take(Float32Array);
    this.y = take(Float32Array);
    this.classes = take(Uint32Array);
    this.datasets = take(Uint32Array);
    this.ends = take(Uint32Array);
    this.ids = new Uint8Array(bytes, at, 16 * count);
    this.paths = new Uint8Array(bytes, at + 16 * count);
    this.sortIntoCells();
  }

  // The rows of each cell of a grid over the map follow each other in `rows`, from `starts` on.
  sortIntoCells() {
    this.side = Math.max(1, Math.ceil(Math.sqrt(this.count * CELLS_PER_POINT)));
    this.right = this.x.reduce((most, each) => Math.max(most, each), 0) + 1;
    this.bottom = this.y.reduce((most, each) => Math.max(most, each), 0) + 1;
    const cells = Uint32Array.from({ length: this.count }, (_, i) => this.cell(this.x[i], this.y[i]));
    this.starts = new Uint32Array(this.side * this.side + 1);
    for (const cell of cells) this.starts[cell + 1]++;
    for (let i = 1; i < this.starts.length; i++) this.starts[i] += this.starts[i - 1];
    const next = this.starts.slice();
    this.rows = new Uint32Array(this.count);
    for (let i = 0; i < this.count; i++) this.rows[next[cells[i]]++] = i;
  }

  cell(x, y) {
    return this.line(y, this.bottom) * this.side + this.line(x, this.right);
  }

  line(value, extent) {
    return Math.min(this.side - 1, Math.max(0, Math.floor(value / extent * this.side)));
  }

  // The nearest point within a distance, -1 where there is none.
  nearest(x, y, within, isShown) {
    let best = -1, least = within * within;
    for (let row = this.line(y - within, this.bottom); row <= this.line(y + within, this.bottom); row++) {
      const from = row * this.side;
      const first = this.starts[from + this.line(x - within, this.right)];
      const end = this.starts[from + this.line(x + within, this.right) + 1];
      for (let at = first; at < end; at++) {
        const i = this.rows[at], away = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
        if (away <= least && isShown(i)) {
          least = away;
          best = i;
        }
      }
    }
    return best;
  }

  // The nearest to a point within 45 degrees of a direction.
  towards(from, dx, dy, isShown) {
    let best = -1, least = Infinity;
    for (let i = 0; i < this.count; i++) {
      const x = this.x[i] - this.x[from], y = this.y[i] - this.y[from];
      const ahead = x * dx + y * dy, aside = Math.abs(x * dy) + Math.abs(y * dx);
      const away = x * x + y * y;
      if (ahead > 0 && ahead >= aside && away < least && isShown(i)) {
        least = away;
        best = i;
      }
    }
    return best;
  }

  id(i) {
    const hex = [...this.ids.subarray(16 * i, 16 * i + 16)].map(byte => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }

  path(i) {
    return new TextDecoder().decode(this.paths.subarray(i ? this.ends[i - 1] : 0, this.ends[i]));
  }
}
