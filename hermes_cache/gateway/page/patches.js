/**
 * Patches: turns one edition of a view into the next one, without fetching the view again.
 *
 * The gateway sends a patch if a client names the edition that it has: `?since=` with the header
 * `X-Hermes-Cache-Edition` of an earlier answer, or the stream of a followed view, whose events have editions as ids.
 * Rows keep their identity: a row that a patch does not change is the same object before and after. So a
 * page can draw only the rows that differ. This file needs no other file and no build step:
 *
 *     import { applied } from "./patches.js";
 *     const events = new EventSource("/api/sessions/follow?show_cli=1");
 *     events.addEventListener("view", (e) => draw(view = { edition: e.lastEventId, body: JSON.parse(e.data) }));
 *     events.addEventListener("patch", (e) => draw(view = applied(view, JSON.parse(e.data))));
 *
 * Numbers beyond 2^53 lose digits in JavaScript; row ids must not be such numbers.
 *
 * @typedef {string | number} RowId
 * @typedef {Object<string, any>} Row
 *
 * @typedef {Object} Changes What turns one list of rows into another.
 * @property {Row[]} rows The rows that are new or differ, whole.
 * @property {RowId[]} gone The ids of the rows that are no longer in the list.
 * @property {Array<[RowId, RowId | null]>} order Pairs of an id and the id behind which it now stands; null for the
 *     first row.
 *
 * @typedef {Object} Rest
 * @property {string} since The edition that the patch is for.
 * @property {string} edition The edition that the patch leads to.
 * @property {Object<string, any>} envelope The fields beside the rows that are new or differ.
 * @property {string[]} gone_fields The names of the fields that the view no longer has.
 * @property {Object<string, Changes>} lists For other fields that are lists of rows, what changed in them.
 * @property {string | null} list_name The field that holds the rows.
 * @property {string} row_id The field of a row that holds its id.
 *
 * @typedef {Changes & Rest} Patch
 *
 * @typedef {Object} View
 * @property {string} edition The name of this state of the view.
 * @property {Object<string, any>} body The view itself: what the gateway sent as JSON.
 */

/**
 * Return the view to which a patch leads. The view given stays as it is.
 *
 * @param {View} view
 * @param {Patch} patch
 * @returns {View}
 * @throws {Error} The patch is for another edition. Fetch the whole view then.
 */
export function applied(view, patch) {
  if (patch.since !== view.edition) {
    throw new Error(`the patch is for the edition ${patch.since}, and this is ${view.edition}`);
  }
  const gone = new Set(patch.gone_fields);
  const fields = new Map(Object.entries(view.body).filter(([name]) => !gone.has(name)));
  for (const [name, value] of Object.entries(patch.envelope)) fields.set(name, value);
  const lists = Object.entries(patch.lists);
  if (patch.list_name !== null) lists.push([patch.list_name, patch]);
  for (const [name, changes] of lists) fields.set(name, appliedRows(view.body[name], changes, patch.row_id));
  return { edition: patch.edition, body: Object.fromEntries(fields) };
}

/**
 * @param {Row[]} rows
 * @param {Changes} changes
 * @param {string} rowId
 * @returns {Row[]}
 */
function appliedRows(rows, changes, rowId) {
  const byId = new Map(rows.map((row) => [row[rowId], row]));
  const links = new Links(byId.keys());
  for (const id of changes.gone) {
    links.takeOut(id);
    byId.delete(id);
  }
  for (const row of changes.rows) byId.set(row[rowId], row);
  for (const [id, behind] of changes.order) links.put(id, behind);
  const order = links.inOrder();
  if (order.length !== byId.size) throw new Error("the patch does not say where each of its new rows stands");
  return order.map((id) => byId.get(id));
}

/** A list of ids in which one id is moved without moving the others. `null` is both its beginning and its end. */
class Links {
  constructor(ids) {
    this.next = new Map();
    this.previous = new Map();
    let last = null;
    for (const id of ids) {
      this.next.set(last, id);
      this.previous.set(id, last);
      last = id;
    }
    this.next.set(last, null);
    this.previous.set(null, last);
  }

  takeOut(id) {
    if (!this.next.has(id)) throw new Error(`the patch is for another view: there is no row ${id} here`);
    const [previous, following] = [this.previous.get(id), this.next.get(id)];
    this.next.set(previous, following);
    this.previous.set(following, previous);
    this.next.delete(id);
    this.previous.delete(id);
  }

  put(id, behind) {
    if (this.next.has(id)) this.takeOut(id);
    if (!this.next.has(behind)) throw new Error(`the patch is for another view: there is no row ${behind} here`);
    const following = this.next.get(behind);
    this.next.set(behind, id);
    this.previous.set(id, behind);
    this.next.set(id, following);
    this.previous.set(following, id);
  }

  inOrder() {
    const ids = [];
    for (let id = this.next.get(null); id !== null; id = this.next.get(id)) ids.push(id);
    return ids;
  }
}
