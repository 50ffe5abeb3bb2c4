// @ts-check
/** Phones that are not ours, made loadable by a page: their published files, as they are. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));

/**
 * One script of a package in CommonJS and of all that it requires; it sets `globalThis[name]`.
 * @param {string} name of the package
 */
export function commonJs(name) {
  /** @type {Map<string, string>} */
  const modules = new Map();
  const visit = (/** @type {string} */ file) => {
    if (modules.has(file)) return;
    const source = readFileSync(file, "utf8");
    const text = file.endsWith(".json") ? `module.exports = ${source}` : source;
    modules.set(file, text);
    const required = [...text.matchAll(/\brequire\(['"]([^'"]+)['"]\)/g)];
    const found = Object.fromEntries(required.map(([, wanted]) => [wanted, resolve(file, wanted ?? "")]));
    modules.set(file, `[function (module, exports, require) {${text}\n}, ${JSON.stringify(found)}]`);
    for (const other of Object.values(found)) visit(other);
  };
  const entry = resolve(join(here, "none.js"), name);
  visit(entry);
  const table = [...modules].map(([file, text]) => `${JSON.stringify(file)}: ${text}`).join(",\n");
  return `globalThis[${JSON.stringify(name)}] = (() => {
    const table = {${table}}, loaded = {};
    const load = (file) => {
      if (loaded[file]) return loaded[file].exports;
      const module = (loaded[file] = { exports: {} });
      const [run, found] = table[file];
      run(module, module.exports, (name) => load(found[name]));
      return module.exports;
    };
    return load(${JSON.stringify(entry)});
  })();`;
}

/**
 * The file that a require means. Pages have files of their own in some packages, and `events` is a package here.
 * @param {string} from
 * @param {string} wanted
 */
function resolve(from, wanted) {
  const require = createRequire(from);
  if (wanted.startsWith(".")) return require.resolve(wanted);
  const description = require.resolve(`${wanted}/package.json`);
  const { browser, main } = JSON.parse(readFileSync(description, "utf8"));
  return require.resolve(join(dirname(description), typeof browser === "string" ? browser : (main ?? "index.js")));
}

/**
 * The file of a package of ES modules that a page asks for under `/modules/`.
 * @param {string} path of the request
 */
export function moduleFile(path) {
  return join(here, "node_modules", path.replace("/modules/", ""));
}
