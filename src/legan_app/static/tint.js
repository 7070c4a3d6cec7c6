// The lamp's colour as the browser's own field. The value is {colour: "#rrggbb"}.
const draw = () => { element.querySelector('input').value = props.value.colour; };
element.addEventListener('input', (event) => {
  props.value = { colour: event.target.value };
  trigger('input');
});
watch('value', draw);
