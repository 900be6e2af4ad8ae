module dirtystreams

go 1.19
