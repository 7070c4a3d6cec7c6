// A lamp on half a sphere round the face, seen from the camera: x = sin(azimuth) cos(elevation), y = sin(elevation).
// The value is {azimuth, elevation} in whole degrees; props.limits holds how far the lighting classes reach, props.flashes where they are.
const CENTRE = [120, 120], RADIUS = 110;
const radians = (degrees) => degrees * Math.PI / 180, degrees = (angle) => angle * 180 / Math.PI;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const part = (name) => element.querySelector(name);

function placed(azimuth, elevation) {
  const cosine = Math.cos(radians(elevation));
  return [CENTRE[0] + RADIUS * Math.sin(radians(azimuth)) * cosine, CENTRE[1] - RADIUS * Math.sin(radians(elevation))];
}

function directed(event) {
  const box = part('.dome').getBoundingClientRect(), limits = props.limits;
  const x = ((event.clientX - box.left) / box.width * 240 - CENTRE[0]) / RADIUS;
  const y = (CENTRE[1] - (event.clientY - box.top) / box.height * 132) / RADIUS;
  const elevation = clamp(degrees(Math.asin(clamp(y, -1, 1))), limits.low, limits.high);
  const azimuth = degrees(Math.asin(clamp(x / Math.cos(radians(elevation)), -1, 1)));
  return { azimuth: Math.round(azimuth), elevation: Math.round(elevation) };
}

function words({ azimuth, elevation }) {
  const side = azimuth === 0 ? 'from the front' : `${Math.abs(azimuth)} degrees from the ${azimuth < 0 ? 'left' : 'right'}`;
  return `${side}, ${elevation} degrees up`;
}

function draw() {
  const value = props.value, [x, y] = placed(value.azimuth, value.elevation), dome = part('.dome');
  const set = (node, values) => Object.entries(values).forEach(([name, one]) => node.setAttribute(name, one));
  set(part('.handle'), { cx: x, cy: y });
  set(part('#puck-light'), { cx: x, cy: y });
  set(dome, { 'aria-valuenow': value.azimuth, 'aria-valuetext': words(value) });
  part('.puck-text').textContent = `${value.azimuth}°, ${value.elevation}°`;
  const lines = part('.lines');
  if (lines.childElementCount) return;
  const drawn = (name, values) => set(lines.appendChild(document.createElementNS('http://www.w3.org/2000/svg', name)), values);
  for (const azimuth of [-60, -30, 0, 30, 60]) {
    const points = Array.from({ length: 19 }, (_, i) => placed(azimuth, 5 * i).join(' '));
    drawn('path', { d: `M${points.join('L')}` });
  }
  for (const elevation of [30, props.limits.high]) {
    const [left, height] = placed(-90, elevation);
    drawn('path', { d: `M${left} ${height}H${240 - left}` });
  }
  for (const [azimuth, elevation] of props.flashes) {
    const [cx, cy] = placed(azimuth, elevation);
    drawn('circle', { cx, cy, r: 2 });
  }
}

function move(value) {
  if (value.azimuth === props.value.azimuth && value.elevation === props.value.elevation) return;
  props.value = value;
  draw();
  trigger('input');
}

let dragged = false;
element.addEventListener('pointerdown', (event) => {
  if (!event.target.closest('.dome') || event.button > 0) return;
  dragged = true;
  element.setPointerCapture(event.pointerId);
  part('.dome').focus({ preventScroll: true });
  event.preventDefault();
  move(directed(event));
});
element.addEventListener('pointermove', (event) => { if (dragged) move(directed(event)); });
for (const name of ['pointerup', 'pointercancel']) element.addEventListener(name, () => { dragged = false; });
element.addEventListener('keydown', (event) => {
  if (!event.target.closest('.dome')) return;
  const step = event.shiftKey ? 1 : 5, { azimuth, elevation } = props.value, limits = props.limits;
  const to = {
    ArrowLeft: [azimuth - step, elevation], ArrowRight: [azimuth + step, elevation],
    ArrowUp: [azimuth, elevation + step], ArrowDown: [azimuth, elevation - step], Home: [0, 0],
  }[event.key];
  if (!to) return;
  event.preventDefault();
  move({ azimuth: clamp(to[0], -limits.side, limits.side), elevation: clamp(to[1], limits.low, limits.high) });
});
watch('value', draw);
draw();
