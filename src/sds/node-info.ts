import type { WireReader } from './wire.ts';

/** What a proxy says of itself: for preferences and display, never for authorisation. */
export interface NodeInfo {
  readonly id: string;
  readonly cluster: string;
  /** Metadata `disable_spiffe_cert_validation`, undefined when absent or not a boolean. */
  readonly disableSpiffeCertValidation: boolean | undefined;
  readonly userAgentName: string;
  readonly userAgentVersion: SemanticVersion | undefined;
}

export interface SemanticVersion {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
}

/** Whether a proxy says that it is an Envoy of this version or a later one. */
export function isEnvoySince(node: NodeInfo | undefined, since: SemanticVersion): boolean {
  const version = node?.userAgentName === 'envoy' ? node.userAgentVersion : undefined;
  if (!version) return false;
  const { major, minor, patch } = since;
  return (version.major - major || version.minor - minor || version.patch - patch) >= 0;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const MAX_NODE_TEXT_BYTES = 1024;
const SWITCH = Buffer.from('disable_spiffe_cert_validation');
/** The texts Go's `strconv.ParseBool` takes: proxies set up for other servers use them. */
const BOOLEANS: ReadonlyMap<string, boolean> = new Map([
  ...['1', 't', 'T', 'TRUE', 'true', 'True'].map((text) => [text, true] as const),
  ...['0', 'f', 'F', 'FALSE', 'false', 'False'].map((text) => [text, false] as const),
]);
const MAX_BOOLEAN_BYTES = 5;

/** Reads the `envoy.config.core.v3.Node` the reader stands at; `earlier` is what it is merged into. */
export function readNode(r: WireReader, earlier: NodeInfo | undefined): NodeInfo {
  const node: Mutable<NodeInfo> = {
    id: earlier?.id ?? '',
    cluster: earlier?.cluster ?? '',
    disableSpiffeCertValidation: earlier?.disableSpiffeCertValidation,
    userAgentName: earlier?.userAgentName ?? '',
    userAgentVersion: earlier?.userAgentVersion,
  };
  const outer = r.enter();
  while (r.next()) {
    switch (r.field) {
      case 1:
        node.id = r.display(MAX_NODE_TEXT_BYTES);
        break;
      case 2:
        node.cluster = r.display(MAX_NODE_TEXT_BYTES);
        break;
      case 3:
        readMetadata(r, node);
        break;
      case 6:
        node.userAgentName = r.display(MAX_NODE_TEXT_BYTES);
        break;
      case 7:
        node.userAgentVersion = undefined; // the other arm of the oneof
        break;
      case 8:
        node.userAgentVersion = readBuildVersion(r, node.userAgentVersion);
        break;
    }
  }
  r.leave(outer);
  return node;
}

/** `google.protobuf.Struct`: a map from key to `Value`, of which one entry matters. */
function readMetadata(r: WireReader, node: Mutable<NodeInfo>): void {
  const outer = r.enter();
  while (r.next()) {
    if (r.field === 1) readMetadataEntry(r, node);
  }
  r.leave(outer);
}

function readMetadataEntry(r: WireReader, node: Mutable<NodeInfo>): void {
  let wanted: boolean | undefined;
  let value: boolean | undefined;
  const outer = r.enter();
  while (r.next()) {
    if (r.field === 1) wanted = r.equals(SWITCH);
    else if (r.field === 2 && wanted !== false) value = readBoolean(r);
  }
  r.leave(outer);
  if (wanted) node.disableSpiffeCertValidation = value;
}

/** `google.protobuf.Value`, a oneof, as a boolean; undefined for every other kind. */
function readBoolean(r: WireReader): boolean | undefined {
  let value: boolean | undefined;
  const outer = r.enter();
  while (r.next()) {
    if (r.field === 4) value = r.bool();
    else if (r.field === 3) value = BOOLEANS.get(r.display(MAX_BOOLEAN_BYTES + 1));
    else if (r.field <= 6) value = undefined;
  }
  r.leave(outer);
  return value;
}

function readBuildVersion(
  r: WireReader,
  earlier: SemanticVersion | undefined,
): SemanticVersion | undefined {
  let version = earlier;
  const outer = r.enter();
  while (r.next()) {
    if (r.field === 1) version = readSemanticVersion(r, version);
  }
  r.leave(outer);
  return version;
}

function readSemanticVersion(r: WireReader, earlier: SemanticVersion | undefined): SemanticVersion {
  let { major, minor, patch } = earlier ?? { major: 0, minor: 0, patch: 0 };
  const outer = r.enter();
  while (r.next()) {
    if (r.field === 1) major = r.uint32();
    else if (r.field === 2) minor = r.uint32();
    else if (r.field === 3) patch = r.uint32();
  }
  r.leave(outer);
  return { major, minor, patch };
}
