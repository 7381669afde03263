// All that a view brings to the page itself, with each of its messages: it waits for the scripts, which come with the
// feed, and hands over to them. Until then it keeps the room that the view will take.

export default function door(component) {
  if (window.anchorscope) return window.anchorscope.drawn(component);
  const { data, parentElement: place } = component;
  let room = place.querySelector(".room");
  if (!room) {
    room = document.createElement("div");
    room.className = "room";
    place.append(room);
  }
  room.style.minHeight = `${data.height}px`;
  let close = null;
  const open = () => (close = window.anchorscope.drawn(component));
  window.addEventListener("anchorscope", open, { once: true });
  return () => {
    window.removeEventListener("anchorscope", open);
    close?.();
  };
}
