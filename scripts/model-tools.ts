/** What `make model` ends with when spin or gcc is not installed; it has said so. */
export const toolMissing = 3;
