package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// The committer sends its parameters in PostgreSQL's binary format, from buffers that it uses again for each group.

// binaryFormat is the format of all parameters and results of the committer.
var binaryFormat = []int16{1}

// array builds a one-dimensional array without nulls.
type array struct {
	buf []byte
	n   int
}

const arrayHeaderLen = 20

// reset empties the array. element is the type of its elements.
func (a *array) reset(element uint32) {
	a.n = 0
	a.buf = append(a.buf[:0], make([]byte, arrayHeaderLen)...)
	binary.BigEndian.PutUint32(a.buf, 1) // dimensions
	binary.BigEndian.PutUint32(a.buf[8:], element)
	binary.BigEndian.PutUint32(a.buf[16:], 1) // the first index
}

// add adds an element of several parts.
func (a *array) add(value, suffix []byte) {
	a.addLen(len(value) + len(suffix))
	a.buf = append(append(a.buf, value...), suffix...)
}

func (a *array) addLen(n int) {
	a.n++
	a.buf = binary.BigEndian.AppendUint32(a.buf, uint32(n))
}

func (a *array) addString(s string) {
	a.addLen(len(s))
	a.buf = append(a.buf, s...)
}

func (a *array) addInt64(v int64) {
	a.addLen(8)
	a.buf = binary.BigEndian.AppendUint64(a.buf, uint64(v))
}

func (a *array) addInt32(v int32) {
	a.addLen(4)
	a.buf = binary.BigEndian.AppendUint32(a.buf, uint32(v))
}

func (a *array) addBool(v bool) {
	a.addLen(1)
	a.buf = append(a.buf, boolByte(v))
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// encoded returns the parameter. It is valid until the array is changed.
func (a *array) encoded() []byte {
	if a.n == 0 {
		binary.BigEndian.PutUint32(a.buf, 0)
	}
	binary.BigEndian.PutUint32(a.buf[12:], uint32(a.n))
	return a.buf
}

// release drops a large buffer.
func (a *array) release(most int) {
	if cap(a.buf) > most {
		a.buf = nil
	}
	a.n = 0
}

func encodeInt64(v int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(v)) }

func encodeInt32(v int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(v)) }

// errResult is returned for a result that does not have the form of its query.
var errResult = errors.New("the database's answer has another form than expected")

func decodeInt64(b []byte) (int64, error) {
	if len(b) != 8 {
		return 0, errResult
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

func decodeInt32(b []byte) (int32, error) {
	if len(b) != 4 {
		return 0, errResult
	}
	return int32(binary.BigEndian.Uint32(b)), nil
}

// OIDs of array elements.
const (
	oidBytea = pgtype.ByteaOID
	oidUUID  = pgtype.UUIDOID
	oidInt8  = pgtype.Int8OID
	oidInt4  = pgtype.Int4OID
	oidBool  = pgtype.BoolOID
	oidText  = pgtype.TextOID
)

// flight is a sequence of prepared statements that are sent at once. After an error the server skips the rest.
type flight struct {
	p *pgconn.Pipeline
}

func (f *flight) send(statement string, parameters ...[]byte) {
	f.p.SendQueryPrepared(statement, parameters, binaryFormat, binaryFormat)
}

// next reads the result of the next statement, row by row.
func (f *flight) next(row func(values [][]byte) error) (pgconn.CommandTag, error) {
	result, err := f.p.GetResults()
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	r, ok := result.(*pgconn.ResultReader)
	if !ok {
		return pgconn.CommandTag{}, fmt.Errorf("%w: %T", errResult, result)
	}
	var failed error
	for r.NextRow() {
		if failed == nil && row != nil {
			failed = row(r.Values())
		}
	}
	tag, err := r.Close()
	if err == nil {
		err = failed
	}
	return tag, err
}
