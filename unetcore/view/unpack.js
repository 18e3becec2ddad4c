"use strict";

/** Bytes of base64 text. */
function bytesOf(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Rows of planes of 8 bits, from the text that Python's `packed` made of them. */
async function unpack(text, width) {
  const stream = new Blob([bytesOf(text)]).stream();
  const inflated = stream.pipeThrough(new DecompressionStream("deflate"));
  const values = new Uint8Array(await new Response(inflated).arrayBuffer());
  for (let i = 0; i < values.length; i++) {
    if (i % width) values[i] += values[i - 1];
  }
  return values;
}

/** All layers of a slice: arrays with an entry per pixel, some of them null. */
async function unpackSlice(packed, width, height) {
  const read = (text) => (text ? unpack(text, width) : null);
  const [image, level, reference, bytes] = await Promise.all(
    [packed.image, packed.level, packed.reference, packed.cells].map(read));
  const area = width * height;
  const cells = bytes && Int32Array.from({ length: area }, (_, i) => bytes[i] + 256 * bytes[area + i]);
  return { image, level, reference, cells };
}
