// Compiles src/ into dist/, and what the program `migscope` needs into few files in dist/cli/: they load in a fraction of the
// time that the 240 modules take. `dist/index.js`, the library, stays as compiled.
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { rolldown } from 'rolldown';

const root = fileURLToPath(new URL('.', import.meta.url));
const cli = `${root}dist/cli`;
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
rmSync(`${root}dist`, { recursive: true, force: true });
execFileSync(process.execPath, [tsc, '-p', 'tsconfig.json'], { cwd: root, stdio: 'inherit' });

// Files that a module names relative to itself lie beside it, bundled or not: the page's assets, the programs of children.
for (const place of ['report', 'cli']) {
  cpSync(`${root}src/report/assets`, `${root}dist/${place}/assets`, { recursive: true });
}
const OUTSIDE = /^[^./]/;
for (const file of ['capture/live/cap-child', 'decode/tcp/metrics/metrics-thread']) {
  writeChunks(await bundle(`${root}dist/${file}.js`, OUTSIDE, 'esm'));
}
const chunks = await bundle(`${cli}/program.js`, OUTSIDE, 'esm');
writeChunks(chunks);

// What is loaded in any case become scripts, and modules that hand on what these export (src/cli/code-cache.ts).
const always = new Set(['program.js']);
for (const name of always) {
  const { imports } = chunks.find(({ fileName }) => fileName === name);
  for (const other of imports) if (chunks.some(({ fileName }) => fileName === other)) always.add(other);
}
const ANY = /./;
for (const file of always) {
  // Their imports are done for them: a script whose code comes from a cache cannot import.
  const [{ name, code, exports }] = await bundle(`${cli}/${file}`, ANY, 'cjs');
  writeFileSync(`${cli}/${name}.cjs`, code.replace(/\bimport(?=\([`'"]\.\/program-)/g, 'importChunk'));
  writeFileSync(
    `${cli}/${file}`,
    `import { load } from './code-cache.js';\nexport const { ${exports.join(', ')} } = load('${name}');\n`,
  );
}
chmodSync(`${root}dist/cli.js`, 0o755);

// One run compiles what runs need; V8 forgets what was not called for a while.
setFlagsFromString('--no-flush-bytecode');
const { run } = await import(`${cli}/program.js`);
const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough().resume(), new PassThrough().resume()];
const io = { stdin, stdout, stderr, env: {}, exitCode: 0 };
if ((await run(['analyze', `${root}samples/precopy.pcap.gz`], io)) !== 0)
  throw new Error('the built program does not run');
setFlagsFromString('--flush-bytecode');
const { scripts } = await import(`${cli}/code-cache.js`);
for (const [name, script] of scripts) writeFileSync(`${cli}/${name}.cache`, script.createCachedData());

/** The chunks that `file` becomes with all it imports but what is `external`, in ASCII: V8 keeps others at two bytes a character. */
async function bundle(file, external, format) {
  const build = await rolldown({ input: file, platform: 'node', external });
  const { output } = await build.generate({
    format,
    minify: true,
    keepNames: true,
    minifyInternalExports: false,
    chunkFileNames: 'program-[name].js',
  });
  await build.close();
  return output.map((chunk) => ({ ...chunk, code: chunk.code.replace(/[^\0-\x7f]/g, escaped) }));
}

function escaped(unit) {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

function writeChunks(chunks) {
  for (const { fileName, code } of chunks) writeFileSync(`${cli}/${fileName}`, code);
}
