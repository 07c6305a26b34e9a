// What the gateway knows of the lab. The token stands in the fragment, which a browser sends to nobody.

export class Refused extends Error {}

async function ask(path, token) {
  const answer = await fetch(path, { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" });
  const data = await answer.json();
  if (answer.status === 403) throw new Refused(data.error);
  if (!answer.ok) throw new Error(data.error);
  return data;
}

// A ticket (it begins with "open.") opens the page once; what it stands for takes its place, so that a reload works.
export async function openingToken() {
  const given = decodeURIComponent(location.hash.slice(1));
  if (!given.startsWith("open.")) return given;
  const { token } = await ask("api/open", given.slice("open.".length));
  history.replaceState(null, "", `#${token}`);
  return token;
}

export const lab = (token) => ask("api/lab", token);
