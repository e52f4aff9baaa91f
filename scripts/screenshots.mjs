// Screenshots of TensorBoard's pages, for the README.
//
//   tensorboard --logdir runs --port 6006 &
//   npm install --no-save playwright-core
//   node scripts/screenshots.mjs http://localhost:6006 docs/pictures [page ...]
//
// Needs Chromium; CHROMIUM names it where it is not on the usual path.
import { mkdir } from "node:fs/promises";
import { chromium } from "playwright-core";

const PAGES = ["timeseries", "scalars", "custom_scalars", "images", "graphs", "distributions", "histograms", "text", "hparams"];
const SETTLED = 6000; // milliseconds; TensorBoard says nowhere that it has finished drawing

const [address, folder, ...chosen] = process.argv.slice(2);
if (!folder) {
  console.error("usage: node scripts/screenshots.mjs ADDRESS FOLDER [page ...]");
  process.exit(2);
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
await mkdir(folder, { recursive: true });
for (const name of chosen.length ? chosen : PAGES) {
  const page = await browser.newPage({ viewport: { width: 1440, height: 1000 } });
  await page.goto(`${address}/#${name}`);
  await page.waitForTimeout(SETTLED);
  await page.screenshot({ path: `${folder}/${name}.png` });
  await page.close();
  console.log(`${folder}/${name}.png`);
}
await browser.close();
