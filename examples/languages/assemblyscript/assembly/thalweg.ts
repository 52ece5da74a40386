// SmartModule ABI v1 for AssemblyScript: what docs/formats/smartmodule-abi.md says, and no more.
//
// Everything that is read is checked against the input's length: records come from producers, whom
// nobody trusts. A failed read sets `Reader.failed` and gives nothing, so that callers may read on
// and look once at the end.

// ---- What the host offers

@external("thalweg", "log")
declare function hostLog(level: i32, text: usize, bytes: i32): void;

@external("thalweg", "panic")
declare function hostPanic(text: usize, bytes: i32): void;

export const LOG_INFORMATION: i32 = 3;

/** A line for the host's log. */
export function log(level: i32, line: string): void {
  const text = String.UTF8.encode(line);
  hostLog(level, changetype<usize>(text), text.byteLength);
}

/**
 * What AssemblyScript calls before it traps (`use` in asconfig.json says so): the stream's user
 * reads why.
 */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const why = message === null ? "aborted" : message;
  const where = file === null ? "" : ` (${file}:${line}:${column})`;
  const text = String.UTF8.encode(why + where);
  hostPanic(changetype<usize>(text), text.byteLength);
  unreachable();
}

// ---- What the host gives

/** Bits of the input's flags that this module knows. It must fail on others. */
const FLAGS_KNOWN: u32 = 1;
const INPUT_HEADER_BYTES: u32 = 64;

/** What lies at the address that a call is given. */
export class Input {
  recordCount: u32 = 0;
  outputBytesSoft: u32 = 0;
  records: Reader;
  /** Why it can't be read; empty when it can. */
  problem: string = "";

  constructor(address: usize, bytes: u32) {
    this.records = new Reader(address, address);
    if (bytes < INPUT_HEADER_BYTES) {
      this.problem = "the input has no whole header";
    } else if (load<u32>(address, 20) & ~FLAGS_KNOWN) {
      this.problem = "built for an older host: the input has flags that this module does not know";
    } else {
      this.recordCount = load<u32>(address, 16);
      this.outputBytesSoft = load<u32>(address, 40);
      const whole = new Reader(address, address + bytes);
      whole.take(load<u32>(address, 24));
      const start = whole.take(load<u32>(address, 28));
      this.records = new Reader(start, whole.at);
      if (whole.failed) this.problem = "the records reach out of the input";
    }
  }
}

/** A piece of the input, read from its front. */
export class Reader {
  failed: bool = false;

  constructor(public at: usize, readonly end: usize) {}

  /** Moves over as many bytes and gives the address of the first. */
  take(bytes: u64): usize {
    const start = this.at;
    if (bytes > <u64>(this.end - start)) {
      this.failed = true;
      this.at = this.end;
      return this.end;
    }
    this.at += <usize>bytes;
    return start;
  }

  /** A zigzag varint: seven bits a byte, lowest first; 0, 1, 2, 3 stand for 0, -1, 1, -2. */
  varint(): i64 {
    let raw: u64 = 0;
    for (let shift: u64 = 0; shift < 64; shift += 7) {
      const byte = this.take(1);
      if (this.failed) return 0;
      const bits: u64 = load<u8>(byte);
      raw |= (bits & 0x7f) << shift;
      if (bits < 0x80) return <i64>(raw >> 1) ^ -(<i64>(raw & 1));
    }
    this.failed = true;
    return 0;
  }

  /** A length and as many bytes; -1 is null. */
  bytes(): Bytes {
    const length = this.varint();
    if (length == -1) return new Bytes(this.at, 0, true);
    // Another negative length is larger than anything once it has no sign.
    const start = this.take(<u64>length);
    return new Bytes(start, <u32>(this.at - start), false);
  }
}

/** Bytes of the input, where they lie. */
export class Bytes {
  constructor(readonly address: usize, readonly length: u32, readonly isNull: bool) {}

  toString(): string {
    return String.UTF8.decodeUnsafe(this.address, this.length);
  }
}

/** One record, where it lies. */
export class Record {
  readonly timestampDelta: i64;
  readonly offsetDelta: i64;
  readonly key: Bytes;
  readonly value: Bytes;
  /** The headers as they are encoded: they are only passed on. */
  readonly headers: Bytes;
  readonly isMalformed: bool;

  constructor(records: Reader) {
    const length = records.varint();
    const start = records.take(<u64>length);
    const body = new Reader(start, records.at);
    body.take(1); // The attributes have no meaning yet.
    this.timestampDelta = body.varint();
    this.offsetDelta = body.varint();
    this.key = body.bytes();
    this.value = body.bytes();
    this.headers = new Bytes(body.at, <u32>(body.end - body.at), false);
    this.isMalformed = records.failed || body.failed;
  }
}

// ---- What the host takes

/** The records that a call makes. Kept from call to call, as is its memory. */
export class Output {
  private buffer: StaticArray<u8> = new StaticArray<u8>(64 << 10);
  length: u32 = 0;

  get address(): usize {
    return changetype<usize>(this.buffer);
  }

  /**
   * Writes `from` once more, with another value. The offset delta says which record this one came
   * from, so it stays.
   */
  write(from: Record, value: ArrayBuffer): void {
    const keyBytes: i64 = from.key.isNull ? -1 : <i64>from.key.length;
    const bodyBytes =
      1 +
      varintBytes(from.timestampDelta) +
      varintBytes(from.offsetDelta) +
      varintBytes(keyBytes) +
      from.key.length +
      varintBytes(value.byteLength) +
      value.byteLength +
      from.headers.length;
    this.reserve(bodyBytes + 10);
    this.varint(bodyBytes);
    this.copy(changetype<usize>(NO_ATTRIBUTES), 1);
    this.varint(from.timestampDelta);
    this.varint(from.offsetDelta);
    this.varint(keyBytes);
    this.copy(from.key.address, from.key.length);
    this.varint(value.byteLength);
    this.copy(changetype<usize>(value), value.byteLength);
    this.copy(from.headers.address, from.headers.length);
  }

  private reserve(bytes: u32): void {
    const needed = this.length + bytes;
    if (needed <= <u32>this.buffer.length) return;
    const larger = new StaticArray<u8>(<i32>max<u32>(needed, this.buffer.length * 2));
    memory.copy(changetype<usize>(larger), this.address, this.length);
    this.buffer = larger;
  }

  private copy(from: usize, bytes: u32): void {
    memory.copy(this.address + this.length, from, bytes);
    this.length += bytes;
  }

  private varint(value: i64): void {
    let raw = zigzag(value);
    while (raw >= 0x80) {
      store<u8>(this.address + this.length++, <u8>raw | 0x80);
      raw >>= 7;
    }
    store<u8>(this.address + this.length++, <u8>raw);
  }
}

const NO_ATTRIBUTES: StaticArray<u8> = [0];

function zigzag(value: i64): u64 {
  return (<u64>value << 1) ^ <u64>(value >> 63);
}

function varintBytes(value: i64): u32 {
  const bits = 64 - <u32>clz(zigzag(value) | 1);
  return (bits + 6) / 7;
}

const OK: u32 = 0;
const RECORD_FAILED: u32 = 1;
const FAILED: u32 = 2;

/** The answer's place: the host copies it out at once, so that one will do. */
const answer = new StaticArray<u32>(8);
/** Keeps the message from being collected until it is read. */
let message = new ArrayBuffer(0);

function answerWith(status: u32, consumed: u32, output: Output | null, count: u32): usize {
  answer[0] = status;
  answer[1] = consumed;
  answer[2] = output === null ? 0 : <u32>output.address;
  answer[3] = output === null ? 0 : output.length;
  answer[4] = count;
  answer[5] = <u32>changetype<usize>(message);
  answer[6] = message.byteLength;
  return changetype<usize>(answer);
}

/** All of the first `consumed` records went well. */
export function succeeded(consumed: u32, output: Output, count: u32): usize {
  message = new ArrayBuffer(0);
  return answerWith(OK, consumed, output, count);
}

/** The record behind the first `consumed` ones failed; theirs are given out. */
export function recordFailed(why: string, consumed: u32, output: Output, count: u32): usize {
  message = String.UTF8.encode(why);
  return answerWith(RECORD_FAILED, consumed, output, count);
}

/** The call failed as a whole. */
export function failed(why: string): usize {
  message = String.UTF8.encode(why);
  return answerWith(FAILED, 0, null, 0);
}

// ---- The buffer for inputs

let inputBuffer: usize = 0;

/** Gives the host a buffer for its inputs; it takes the place of the last one. */
export function allocate(bytes: i32): usize {
  // Memory that the garbage collector does not know of: the host alone says how long it is used.
  if (inputBuffer != 0) heap.free(inputBuffer);
  inputBuffer = heap.alloc(bytes);
  return inputBuffer;
}
