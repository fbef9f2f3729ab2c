// Show one session at a time: display what the event stream sends, and send what the user clicks.

import { get, listen, post, takeToken } from "./wire.js";
import { el } from "./elements.js";
import { showFleet, showIdeas, showNight, showNotes, showNow, showOne, showPlan, showRows, showStands, showState, the } from "./parts.js";

let tag = null, session = null, now = null, readOnly = false, leave = () => {}, sure = null;

const here = (what) => `/api/sessions/${encodeURIComponent(tag)}/${what}`;

function trouble(words) {
  the("trouble").hidden = !words;
  the("trouble").textContent = words ?? "";
}

function lost(error) {
  the("state").className = "state lost";
  the("state").lastChild.textContent = "reconnecting";
  for (const button of the("controls").querySelectorAll("button")) button.disabled = true;
  if (error.status) trouble(error.message);
}

function hear(name, data) {
  if (name === "lost") return lost(data);
  if (name === "sessions") return showSessions(data);
  if (name === "trouble") return trouble(data ? [data.error, data.hint].filter(Boolean).join(" · ") : null);
  if (name === "session") { session = data; if (now) showSlow(); }
  if (name === "now") { const first = now == null; now = data; if (session && first) showSlow(); }
  if (session && now) showFast();
}

function showSlow() {
  document.querySelector("main").hidden = false;
  showStands(session);
  showNight(session, open);
  showFleet(session, open);
  showRows(session, open);
  showIdeas(session, (id) => action("drop-idea", { id }), !readOnly);
  showNotes(session, !readOnly);
}

function showFast() {
  showState(session, now);
  showNow(session, now);
  showPlan(session, now);
  showControls();
  document.title = now.running?.number != null ? `#${now.running.number} · ${tag}` : `${tag} · autoresearch-mlx`;
}

function showControls() {
  const run = session.run, number = now.running?.number;
  the("controls").hidden = readOnly;
  for (const form of document.querySelectorAll(".writes")) form.hidden = readOnly;
  const waits = run && (run.paused || run.stop);
  label("pause", waits ? "Resume" : "Pause", !run, waits);
  const still = ["paused", "waiting"].includes(now.running?.phase);
  label("stop", run?.stop ? "Stops after this one" : still ? "End the run" : "Stop after this one", !run || run.stop);
  if (sure != null && sure !== number) sure = null;
  label("skip", sure != null ? `Really skip #${sure}?` : "Skip this one", !run || number == null);
  the("skip").hidden = still;
  the("skip").classList.toggle("sure", sure != null);
}

function label(id, text, disabled, on = false) {
  const button = the(id);
  if (button.textContent !== text) button.textContent = text;
  button.disabled = Boolean(disabled);
  button.classList.toggle("on", Boolean(on));
}

function showSessions({ sessions, current, read_only }) {
  readOnly = read_only;
  const select = the("session"), wanted = sessions.map((s) => `${s.tag}${s.live ? " ●" : ""}`);
  if (select.dataset.shown !== wanted.join("\n")) {
    select.dataset.shown = wanted.join("\n");
    select.replaceChildren(...sessions.map((s, n) => el("option", { value: s.tag }, wanted[n])));
  }
  if (tag == null) choose(current);
  select.value = tag;
}

function choose(wanted) {
  if (wanted == null) { trouble("This lab has no session yet: `autoresearch-mlx run` starts one, and then it shows here."); setTimeout(begin, 1000); return; }
  trouble(null);
  leave();
  [tag, session, now, sure] = [wanted, null, null, null];
  trouble(null);
  leave = listen(here("events"), hear);
}

async function action(name, body = {}) {
  const said = the("said");
  try {
    said.className = "";
    said.textContent = (await post(here(name), body)).said;
    return true;
  } catch (error) {
    said.className = "no";
    said.textContent = error.message;
    return false;
  }
}

async function open(number) {
  try { showOne(await get(here(`experiments/${number}`)), session.status.metric); } catch (error) { trouble(error.message); }
}

function onForm(id, name, read) {
  the(id).addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target;
    if (await action(name, read(new FormData(form)))) form.reset();
  });
}

the("pause").addEventListener("click", () => action(session.run.paused || session.run.stop ? "resume" : "pause"));
the("stop").addEventListener("click", () => action("stop"));
the("skip").addEventListener("click", () => {
  const number = now.running?.number;
  if (sure === number) { sure = null; action("skip", { number }); } else { sure = number; setTimeout(() => { if (sure === number) { sure = null; showControls(); } }, 6000); }
  showControls();
});
the("clear-notes").addEventListener("click", () => action("clear-notes"));
the("session").addEventListener("change", (event) => choose(event.target.value));
onForm("add-idea", "idea", (form) => ({ title: form.get("title"), why: form.get("why"), axis: "" }));
onForm("add-note", "note", (form) => ({ text: form.get("text") }));
addEventListener("resize", () => { if (session && now) showFast(); });

async function begin() {
  if (!takeToken()) { trouble("Open the whole address that `autoresearch-mlx dashboard` printed last: it ends with the current token."); return; }
  try { showSessions(await get("/api/sessions")); } catch (error) { lost(error); if (!error.status) setTimeout(begin, 1000); }
}

addEventListener("hashchange", () => location.reload());
begin();
