// A SmartModule in AssemblyScript: a map from degrees Fahrenheit to degrees Celsius. Keys, times and
// headers stay. A value that is no number fails, which ends its stream with a message.
import {
  Input,
  LOG_INFORMATION,
  Output,
  Record,
  allocate,
  failed,
  log,
  recordFailed,
  succeeded,
} from "./thalweg";

const output = new Output();

// Runs once, in the exported `_initialize`: without `exportStart` in asconfig.json it would run in
// the module's start function, before the host can see its memory.
log(LOG_INFORMATION, "turning degrees Fahrenheit into Celsius");

/** Says which version of the ABI this is. Never called. */
export function thalweg_abi_v1(): void {}

export function thalweg_alloc(bytes: i32): usize {
  return allocate(bytes);
}

/** The kind: given a batch of records, answers with one for each. */
export function thalweg_map(address: usize, bytes: u32): usize {
  const input = new Input(address, bytes);
  if (input.problem.length > 0) return failed(input.problem);
  output.length = 0;
  for (let index: u32 = 0; index < input.recordCount; index++) {
    const record = new Record(input.records);
    if (record.isMalformed) return failed("the records do not parse");
    const text = record.value.toString();
    const fahrenheit = parseFloat(text);
    if (isNaN(fahrenheit)) {
      return recordFailed("`" + text + "` is no temperature", index, output, index);
    }
    output.write(record, String.UTF8.encode(celsius(fahrenheit)));
    // The host gives the rest once more, so that the output stays small.
    if (output.length >= input.outputBytesSoft) return succeeded(index + 1, output, index + 1);
  }
  return succeeded(input.recordCount, output, input.recordCount);
}

/** With one digit behind the point. */
function celsius(fahrenheit: f64): string {
  const tenths = Math.round(((fahrenheit - 32) * 50) / 9);
  const sign = tenths < 0 ? "-" : "";
  const whole = <i64>Math.abs(tenths);
  return sign + (whole / 10).toString() + "." + (whole % 10).toString();
}
