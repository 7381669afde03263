// The way in. These scripts come with the feed, once; a view itself brings door.js alone, which hands over to them.

const VIEWS = { lab: Lab, space: Space, front: Front };
const mounted = new WeakMap(); // the view of each place on the page

/** Called for each message to a view; gives what is to be done when its place on the page is gone. */
function drawn(component) {
  const { data, parentElement: place } = component;
  let view = mounted.get(place);
  if (!view) {
    const root = make("div", { class: `live ${data.kind}` });
    for (const former of place.querySelectorAll(".live, .room")) former.remove();
    place.append(make("style", {}, STYLE), root);
    view = new VIEWS[data.kind](root);
    mounted.set(place, view);
  }
  view.receive(component);
  // Streamlit also calls this for a message that a newer one has overtaken: only a place that is gone is closed
  return () => setTimeout(() => place.isConnected || (view.close(), mounted.delete(place)));
}

window.anchorscope = { drawn };
window.dispatchEvent(new Event("anchorscope"));

/** Called by Streamlit for each message of a feed, which shows nothing. */
export default function feed({ data }) {
  takeIn(data);
}
