// The faces of a photo as a group of radio buttons. The value is {faces: data URIs of their images, chosen: "1", "2", ... or "all"}.
element.addEventListener('change', (event) => {
  if (event.target.name !== 'face') return;
  props.value = { ...props.value, chosen: event.target.value };
  trigger('input');
});
