const IMAGE = /^k8s:(?:container|pod|pod-init)-image:/;
const DIGEST = /(?:^|[@:/])sha256:[0-9a-f]{64}$/;

/** Whether a selector names an image by what whoever pushes to its registry may move. */
export function isImageTag(selector: string): boolean {
  return IMAGE.test(selector) && !DIGEST.test(selector);
}

/** Whether a selector names an image by its content. */
export function isImageDigest(selector: string): boolean {
  return IMAGE.test(selector) && DIGEST.test(selector);
}
