// SmartModule ABI v1 for Go: what docs/formats/smartmodule-abi.md says, and no more.
//
// A module says what it does with one record (kind, in main.go); everything here is the same for
// every module. What is read is checked against the input's length: records come from producers,
// whom nobody trusts.

package main

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// ---- What the host takes

const (
	statusOK           = 0
	statusRecordFailed = 1
	statusFailed       = 2
)

// answer is read where it lies, so that its layout is the ABI's.
type answer struct {
	status        uint32
	consumedCount uint32
	output        uint32
	outputBytes   uint32
	outputCount   uint32
	message       uint32
	messageBytes  uint32
	_             uint32
}

// What the host reads after a call has returned. Globals, so that the garbage collector leaves it
// alone; Go's collector moves nothing, so that an address stays true.
var (
	inputBuffer []byte
	output      []byte
	message     []byte
	answered    answer
)

// abiV1 says which version of the ABI this is. Never called.
//
//go:wasmexport thalweg_abi_v1
func abiV1() {}

// alloc gives the host a buffer for its inputs; it takes the place of the last one.
//
//go:wasmexport thalweg_alloc
func alloc(bytes uint32) uint32 {
	inputBuffer = make([]byte, bytes)
	return address(inputBuffer)
}

func address(bytes []byte) uint32 {
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(bytes))))
}

// given is the input of a call, which the host has written to the buffer that it was given last.
func given(at, bytes uint32) ([]byte, error) {
	if at != address(inputBuffer) || int(bytes) > len(inputBuffer) {
		return nil, fmt.Errorf("the input does not lie in the buffer for it")
	}
	return inputBuffer[:bytes], nil
}

func answerWith(status, consumedCount, outputCount uint32, err error) uint32 {
	message = message[:0]
	if err != nil {
		message = append(message, err.Error()...)
	}
	answered = answer{
		status:        status,
		consumedCount: consumedCount,
		output:        address(output),
		outputBytes:   uint32(len(output)),
		outputCount:   outputCount,
		message:       address(message),
		messageBytes:  uint32(len(message)),
	}
	return uint32(uintptr(unsafe.Pointer(&answered)))
}

// ---- Parameters

// initialize takes the parameters: a count, then names and values.
//
//go:wasmexport thalweg_init
func initialize(at, bytes uint32) uint32 {
	output = output[:0]
	input, err := given(at, bytes)
	if err != nil {
		return answerWith(statusFailed, 0, 0, err)
	}
	params := map[string]string{}
	read := reader{rest: input}
	for count := read.uint32(); count > 0 && !read.failed; count-- {
		name := string(read.take(uint64(read.uint32())))
		params[name] = string(read.take(uint64(read.uint32())))
	}
	if read.failed {
		return answerWith(statusFailed, 0, 0, fmt.Errorf("the parameters end early"))
	}
	if err := configure(params); err != nil {
		return answerWith(statusFailed, 0, 0, err)
	}
	return answerWith(statusOK, 0, 0, nil)
}

// ---- Records

const (
	inputHeaderBytes = 64
	// flagsKnown are the bits of the input's flags that this module knows; it must fail on others.
	flagsKnown = 1
)

// record is one record, where it lies. A key or value that is nil is null.
type record struct {
	timestampDelta int64
	offsetDelta    int64
	key            []byte
	value          []byte
	// headers are as they are encoded: they are only passed on.
	headers []byte
}

// each puts every record of the input through kind, which gives the value to write or nil for none,
// and answers for a filter_map.
func each(at, bytes uint32, kind func(record) ([]byte, error)) uint32 {
	output = output[:0]
	input, err := given(at, bytes)
	if err == nil && len(input) < inputHeaderBytes {
		err = fmt.Errorf("the input has no whole header")
	}
	if err != nil {
		return answerWith(statusFailed, 0, 0, err)
	}
	word := func(position int) uint32 { return binary.LittleEndian.Uint32(input[position:]) }
	if word(20)&^flagsKnown != 0 {
		err := fmt.Errorf("built for an older host: the input has flags that this module does not know")
		return answerWith(statusFailed, 0, 0, err)
	}
	recordCount, softBytes := word(16), word(40)
	records := reader{rest: input}
	records.take(uint64(word(24)))
	records.rest = records.take(uint64(word(28)))

	outputCount := uint32(0)
	for index := range recordCount {
		record := records.record()
		if records.failed {
			output = output[:0]
			return answerWith(statusFailed, 0, 0, fmt.Errorf("the records do not parse"))
		}
		value, err := kind(record)
		if err != nil {
			return answerWith(statusRecordFailed, index, outputCount, err)
		}
		if value != nil {
			output = appendRecord(output, record, value)
			outputCount++
		}
		// The host gives the rest once more, so that the output stays small.
		if uint32(len(output)) >= softBytes {
			return answerWith(statusOK, index+1, outputCount, nil)
		}
	}
	return answerWith(statusOK, recordCount, outputCount, nil)
}

// appendRecord writes from once more, with another value. The offset delta says which record this
// one came from, so it stays.
func appendRecord(out []byte, from record, value []byte) []byte {
	body := []byte{0} // The attributes have no meaning yet.
	body = binary.AppendVarint(body, from.timestampDelta)
	body = binary.AppendVarint(body, from.offsetDelta)
	for _, bytes := range [][]byte{from.key, value} {
		if bytes == nil {
			body = binary.AppendVarint(body, -1)
			continue
		}
		body = binary.AppendVarint(body, int64(len(bytes)))
		body = append(body, bytes...)
	}
	body = append(body, from.headers...)
	out = binary.AppendVarint(out, int64(len(body)))
	return append(out, body...)
}

// reader reads bytes from their front. After a failed read it is empty and failed is set, so that
// callers may read on and look once at the end.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) take(length uint64) []byte {
	if length > uint64(len(r.rest)) {
		r.failed, r.rest = true, nil
		return nil
	}
	taken := r.rest[:length:length]
	r.rest = r.rest[length:]
	return taken
}

func (r *reader) uint32() uint32 {
	word := r.take(4)
	if r.failed {
		return 0
	}
	return binary.LittleEndian.Uint32(word)
}

// varint reads a zigzag varint, which is what encoding/binary calls a varint.
func (r *reader) varint() int64 {
	value, length := binary.Varint(r.rest)
	if length <= 0 {
		r.failed, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[length:]
	return value
}

// nullable reads a length and as many bytes; -1 is null.
func (r *reader) nullable() []byte {
	length := r.varint()
	if length == -1 {
		return nil
	}
	// Another negative length is larger than anything once it has no sign.
	return r.take(uint64(length))
}

func (r *reader) record() record {
	body := reader{rest: r.take(uint64(r.varint()))}
	body.take(1)
	read := record{
		timestampDelta: body.varint(),
		offsetDelta:    body.varint(),
		key:            body.nullable(),
		value:          body.nullable(),
	}
	read.headers = body.rest
	r.failed = r.failed || body.failed
	return read
}
