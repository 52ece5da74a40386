module thalweg.dev/examples/languages/go

go 1.24
