// Draws the marks of a map beside the page's own thread, so that nothing waits for 100,000 of them.
let points = null, marks = [], shapes = [];

onmessage = ({ data }) => {
  if (data.points) points = data.points;
  if (data.shapes) shapes = data.shapes.map(outline => new Path2D(outline));
  if (data.look) draw(data.look);
};

// A mark of each class as a small image, in the middle of a square.
function makeMarks({ colours, card, radius, classes }) {
  const side = 2 * Math.ceil(radius * 8 + 1);
  return classes.map(({ colour, shape }) => {
    const mark = new OffscreenCanvas(side, side), brush = mark.getContext("2d");
    brush.translate(side / 2, side / 2);
    brush.scale(radius, radius);
    brush.fillStyle = colours[colour];
    brush.strokeStyle = card;
    brush.fill(shapes[shape]);
    brush.stroke(shapes[shape]);
    return mark;
  });
}

// `left`, `top` and `scale` say what of the map is on the canvas, in its pixels.
function draw(look) {
  const { width, height, left, top, scale, hidden, lit } = look;
  marks = makeMarks(look);
  const canvas = new OffscreenCanvas(width, height), brush = canvas.getContext("2d");
  brush.globalAlpha = lit < 0 ? 1 : 0.15;
  drawMarks(brush, look, place => !hidden[place] && place !== lit);
  brush.globalAlpha = 1;
  if (lit >= 0) drawMarks(brush, look, place => place === lit);
  const image = canvas.transferToImageBitmap();
  postMessage({ image, left, top, scale, width, height }, [image]);
}

function drawMarks(brush, { width, height, left, top, scale }, isDrawn) {
  const { x, y, classes } = points;
  const drawn = marks.map((_, number) => isDrawn(number));
  const half = marks.length ? marks[0].width / 2 : 0;
  for (let i = 0; i < x.length; i++) {
    if (!drawn[classes[i]]) continue;
    const px = (x[i] - left) * scale, py = (y[i] - top) * scale;
    if (px < -half || py < -half || px > width + half || py > height + half) continue;
    brush.drawImage(marks[classes[i]], Math.round(px - half), Math.round(py - half));
  }
}
