import type { TextPosition, YamlPath } from '../core/yaml.ts';

/** One item of an `entries` list, or a manifest, as plain values, with its place in the text. */
export interface ListItem {
  readonly kind: 'entry' | 'manifest';
  readonly value: unknown;
  /** Counts from 1. */
  readonly line: number;
  locate(path: YamlPath, which?: 'key' | 'value'): TextPosition;
}

/** An item's own text: `text.slice(from, to)` begins at `origin` in the file. */
export interface ItemText {
  readonly from: number;
  readonly to: number;
  readonly origin: TextPosition;
}
