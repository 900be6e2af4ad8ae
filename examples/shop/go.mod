module shop

go 1.19

require (
	dirtystreams v0.0.0
	github.com/redis/go-redis/v9 v9.17.2
)

replace dirtystreams => ../../clients/go
