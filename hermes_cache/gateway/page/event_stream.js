/**
 * Reads server-sent events from an answer of `fetch`.
 *
 * The browser's own `EventSource` hides why a stream was refused and whether it is still alive. This page must tell a
 * gateway that is full from one that is gone, and must notice a connection that died in silence.
 */

/**
 * @typedef {Object} ServerEvent
 * @property {string} kind
 * @property {string} id
 * @property {string} data
 */

/**
 * Call back for each event until the stream ends.
 *
 * @param {Response} answer
 * @param {(event: ServerEvent) => void} onEvent
 * @param {() => void} onSign Called for everything that comes, comments included.
 */
export async function readEvents(answer, onEvent, onSign) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let parts = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onSign();
    parts = taken(parts, value, onEvent);
  }
}

/* A whole view comes in hundreds of parts. They are joined once, when its end is there, and not at every part. */
function taken(parts, chunk, onEvent) {
  const last = parts.at(-1);
  const splitsEnd = last !== undefined && last.endsWith("\n") && chunk.startsWith("\n");
  if (!splitsEnd && !chunk.includes("\n\n")) return [...parts, chunk];
  const blocks = [...parts, chunk].join("").split("\n\n");
  const rest = blocks.pop();
  for (const block of blocks) {
    const event = parsed(block);
    if (event) onEvent(event);
  }
  return rest ? [rest] : [];
}

/** @returns {ServerEvent | null} */
function parsed(block) {
  const event = { kind: "message", id: "", data: "" };
  let hasData = false;
  for (const line of block.split("\n")) {
    const at = line.indexOf(": ");
    const value = line.slice(at + 2);
    if (line.startsWith("event: ")) event.kind = value;
    else if (line.startsWith("id: ")) event.id = value;
    else if (line.startsWith("data: ")) {
      event.data = value;
      hasData = true;
    }
  }
  return hasData ? event : null;
}
