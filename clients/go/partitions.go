package dirtystreams

import "strconv"

// Partition returns the partition, from 0 to n-1, of the entity with this id: the CRC16 of Redis Cluster (XMODEM) over
// the bytes of the id, modulo n. Every client of Dirty Streams chooses so.
func Partition(id string, n int) int {
	if n < 2 {
		return 0
	}
	return int(crc16(id)) % n
}

func crc16(text string) uint16 {
	var crc uint16
	for i := 0; i < len(text); i++ {
		crc ^= uint16(text[i]) << 8
		for bit := 0; bit < 8; bit++ {
			carry := crc&0x8000 != 0
			crc <<= 1
			if carry {
				crc ^= 0x1021
			}
		}
	}
	return crc
}

// PartitionKey is the name of a key or stream in a partition: `user{3}` for user in partition 3. With n below 1, which
// means that there are no partitions, it is the key itself.
func PartitionKey(key string, partition, n int) string {
	if n < 1 {
		return key
	}
	return key + "{" + strconv.Itoa(partition) + "}"
}

// partitioned are the streams or keys of all partitions, or of those that `only` names.
func partitioned(key string, n int, only []int) []string {
	if n < 1 {
		return []string{key}
	}
	if only == nil {
		for partition := 0; partition < n; partition++ {
			only = append(only, partition)
		}
	}
	keys := make([]string, len(only))
	for i, partition := range only {
		keys[i] = PartitionKey(key, partition, n)
	}
	return keys
}
