// Talk with the server: send its token in a header, and read events over a connection that is reopened when it ends.

const KEY = "autoresearch-token";

// A browser never sends the fragment to a server; it is removed from the address line as soon as it has been read.
export function takeToken() {
  const given = location.hash.slice(1);
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY);
}

const headers = (more = {}) => ({ "X-Autoresearch-Token": sessionStorage.getItem(KEY) ?? "", ...more });

async function answer(response) {
  const said = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (response.ok) return said;
  throw Object.assign(new Error([said.error, said.hint].filter(Boolean).join(" · ")), { status: response.status });
}

export const get = async (path) => answer(await fetch(path, { headers: headers() }));

export const post = async (path, body) => answer(await fetch(path, {
  method: "POST", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(body),
}));

// Read server-sent events.  EventSource sends no headers, so the stream is read by hand.  When it ends, it is opened again.
export function listen(path, on) {
  let ended = false, control = new AbortController();
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  (async () => {
    for (let pause = 500; !ended; pause = Math.min(pause * 2, 5000)) {
      try {
        control = new AbortController();
        const response = await fetch(path, { headers: headers(), signal: control.signal });
        if (!response.ok) await answer(response);
        await read(response.body, (name, data) => { pause = 250; if (!ended) on(name, data); });
        throw new Error("the stream ended");
      } catch (error) {
        if (!ended) on("lost", error);
        if (error.status === 401 || error.status === 403) return;
      }
      await wait(pause);
    }
  })();
  return () => { ended = true; control.abort(); };
}

async function read(body, on) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const field = (name) => block.split("\n").filter((l) => l.startsWith(`${name}: `)).map((l) => l.slice(name.length + 2)).join("\n");
      if (field("data")) on(field("event"), JSON.parse(field("data")));
    }
  }
}
