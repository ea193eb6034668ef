package cli

// eachPage gives the elements of a list to each, page by page: at most size of them in a page, and all if the limit is 0. next calls for a
// page behind a token. eachPage reports whether there are more than the limit.
func eachPage[T any](
	limit, size int, next func(size uint32, token string) (page []T, following string, err error), each func(T) error,
) (more bool, err error) {
	token := ""
	for left := limit; ; {
		if limit > 0 {
			size = min(left, size)
		}
		var page []T
		if page, token, err = next(uint32(size), token); err != nil {
			return false, err
		}
		for _, one := range page {
			if err := each(one); err != nil {
				return false, err
			}
		}
		left -= len(page)
		if cut := limit > 0 && left <= 0; cut || token == "" {
			return cut && token != "", nil
		}
	}
}
