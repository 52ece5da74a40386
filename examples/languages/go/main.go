// A SmartModule in Go: a filter_map over lines of JSON as services log them. It drops what is below a
// level (parameter `level`, info unless given) and turns the rest into lines for people:
//
//	{"level":"warn","time":"2013-01-01T10:00:00Z","message":"disk slow"}  →  10:00:00 WARN disk slow
//
// A value that is no such line fails, which ends its stream with a message. The standard library's
// JSON, formats, maps and clock are there; what is printed goes to the host's log.
package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

var levels = map[string]int{"debug": 0, "info": 1, "warn": 2, "error": 3}

// threshold is the least level that is kept.
var threshold = levels["info"]

// main is not run: the host calls the exports of a module that was built with
// -buildmode=c-shared. Go wants it all the same.
func main() {}

// configure takes the parameters, before any record.
func configure(params map[string]string) error {
	for name, value := range params {
		level, known := levels[value]
		if name != "level" {
			return fmt.Errorf("there is no parameter `%s`, only `level`", name)
		}
		if !known {
			return fmt.Errorf("`level` is debug, info, warn or error, not `%s`", value)
		}
		threshold = level
		fmt.Println("keeping lines from level", value, "on")
	}
	return nil
}

// filterMap is the kind: given a batch of records, answers with at most one for each.
//
//go:wasmexport thalweg_filter_map
func filterMap(at, bytes uint32) uint32 {
	return each(at, bytes, readable)
}

// line is what a service logs.
type line struct {
	Level   string    `json:"level"`
	Time    time.Time `json:"time"`
	Message string    `json:"message"`
}

func readable(record record) ([]byte, error) {
	var read line
	if err := json.Unmarshal(record.value, &read); err != nil {
		return nil, fmt.Errorf("`%s` is no line of JSON: %w", record.value, err)
	}
	level, known := levels[read.Level]
	if !known {
		return nil, fmt.Errorf("`%s` is no level", read.Level)
	}
	if level < threshold {
		return nil, nil
	}
	text := read.Time.UTC().Format(time.TimeOnly) + " " + strings.ToUpper(read.Level) + " " + read.Message
	return []byte(text), nil
}
