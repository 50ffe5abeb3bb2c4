// @ts-check
/**
 * The page of a link that signs in: its form posts itself. Whoever only looks at the link, as chats and mail programs do
 * to show what is behind it, runs no script and is not signed in.
 */
const form = document.querySelector("form[data-enter]");
if (form instanceof HTMLFormElement) form.requestSubmit();
