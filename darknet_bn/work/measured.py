"""Measured limits for dividing work: how large parts may be, and from which size it pays.

One number per row: its name, its value, and what it bounds.  The heading above the rows says where
they were measured.  Code that divides work uses a row (``measured.ELEMENTS``) and has no number of
its own; how work is divided is in `cuts`.  Limits of files, and of what users may ask for, are next
to the code that they limit.

A different value may change the order in which floats are added, and with it the last bits of
results.  If you measure a row again, write the machine and the date above it.
"""

from __future__ import annotations

# True of x86-64 and most other processors; not measured.

LINE = 64  # bytes of a cache line; buffers begin at one

# Measured earlier; neither machine nor date was recorded.

WORTH_SHARING = 300_000  # nanoseconds of work above which threads share it
PER_MULTIPLICATION = 0.02  # nanoseconds of one thread for a multiplication in a product, roughly
PER_FLOAT = 0.2  # nanoseconds of one thread for a float that is written, roughly
BLOCK = 1 << 19  # floats in a task; smaller tasks cost more to hand to a thread than they gain
UNPACKED = 1_000_000  # multiplications up to which OpenBLAS does not pack first
PRODUCT_COLUMNS = 192  # at least, in a separate product that is cut to avoid packing
WINDOWS = 1 << 19  # floats of windows and sums of a convolution in a task
POINTWISE_SUMS = 1 << 18  # floats of sums of a 1x1 convolution in a task
FILTERS_PIXELS = 1 << 10  # pixels of an image up to which threads share the filters instead
FILTERS_SHARED = 64  # filters; at least this many are needed for that
BIAS_AS_WEIGHT = 1 << 15  # weights up to which the bias may be one more of them
DEPTHWISE_FLOATS = 4  # floats written for each output of a depthwise convolution, roughly
UPDATE_WINDOWS = 1 << 19  # floats of windows in a task of the backward pass
UPDATE_PARTS = 8  # sums of weight updates: a fixed number, so that threads do not change results
UPDATE_SUMS = 1 << 21  # floats in all of these sums together
CONNECTED_WEIGHTS = 1 << 18  # weights that one thread multiplies before it takes the next rows
WINOGRAD_ROWS = 1 << 16  # floats of one row position that a task transforms at once
WINOGRAD_PATCHES = 16_000  # channels times tiles in a task if threads share the tiles
WINOGRAD_TILES = 192  # tiles in a block if threads share the filters
WINOGRAD_BLOCKS = (32, 24, 16)  # filters in one product; the best fit is used
WINOGRAD_FEW_TILES = 16  # tiles of an image up to which the next row is used instead
WINOGRAD_BLOCKS_FOR_FEW = (24,)  # filters in one product
WINOGRAD_COLUMNS = 104  # tiles needed to make a product worthwhile
WINOGRAD_PATCH = 12_288  # channels times tiles in one product: what the first-level cache holds
WINOGRAD_SUMS = 1 << 14  # filters times tiles that are transformed back at once
WINOGRAD_HEAVY = 1 << 21  # floats of transformed filters that should be read once only

# Measured on x86-64 with AVX-512; neither its cores nor the date were recorded.  Winograd's
# transforms pay if each channel and filter is summed over many of the other, and if there is enough
# work to hide some 30 microseconds of Python.  On small images F2 has fewer filter values to read
# and wastes less.

WINOGRAD_CHANNELS = 16  # channels, and filters, at least
WINOGRAD_MULTIPLICATIONS = 2_500_000  # in the direct method, at least
WINOGRAD_SMALL_IMAGE = 120  # pixels up to which F2 is faster than F4

# Measured on two cores with 2 MB of second-level cache each; the date was not recorded.

NORM_BLOCK = 11 << 18  # bytes of a task; threads with less wait for Python's lock too often
NORM_TILE = 4 << 20  # bytes of intermediate values at a time: bounded, but no block is cut
NORM_SHORT_SUM = 128  # pixels; below, it is faster to sum over the images first
NORM_SHORT_STEP = 1024  # pixels; below, repeating a filter's value is faster than broadcasting it
NORM_PIECE = 512  # values that are summed in float32; the pieces are summed in float64
NORM_BUFFERED = 4096  # steps up to which ufuncs copy what they broadcast to a buffer of 8192,
NORM_LEAST_BUFFER = 16  # but not to one of this size, in which no row fits
NORM_FEW = 1 << 14  # values; below, this does not matter

# Measured on two cores of an AMD EPYC server (Zen 4), numba 0.68, November 2026.

LINGER = 2e-4  # seconds that a thread looks for parts of compiled loops before it sleeps
NORM_COMPILED = 1 << 19  # bytes of activations up to which one thread alone is faster
NORM_COMPILED_PARTS = 1 << 23  # bytes of activations from which each thread gets two parts
NORM_COMPILED_FILTERS = 1 << 19  # bytes of the filters that a loop works on together
NORM_COMPILED_ROW = 9  # pixels; with fewer, loops along the pixels are slower than numpy
NORM_COMPILED_FEW = 1 << 14  # values up to which they are faster even so
DIRECT_CHANNELS = 8  # of a 3x3 convolution up to which compiled sums are faster than products
DIRECT_PADDED = 1 << 16  # floats of the padded input of a task

DEPTHWISE_COMPILED_FLOATS = 3  # as DEPTHWISE_FLOATS: half a nanosecond for each output
DEPTHWISE_COMPILED_SUMS = 1 << 11  # floats of sums that the taps go over together

# Measured on one core of the same server (1 MB of second-level cache), others at work on the
# second, numba 0.68, 29 November 2026.

STRAIGHT_PIXELS = 1 << 12  # numbers in a row of a tile, whose products with others are summed
STRAIGHT_WORK = 1 << 20  # multiplications; with fewer, laying them out is not worth it
STRAIGHT_ROW = 16  # outputs in a row, at least, if windows are more than a pixel apart
STRAIGHT_SUMS = 3 << 9  # numbers in a row of sums: four of them and two of deltas stay in cache
STRAIGHT_CHANNELS = 32  # of the input; with more, products of matrices are faster

# Measured on both cores of the same server, numba 0.68, 30 November 2026.

BENT = 1 << 18  # floats up to which one thread is faster with what is linear in pieces
POOL_BACK_LEAST = 3  # pixels of a row, at least, to go back through compiled
POOL_BACK_ROW = 40  # pixels, at least, to go along the row in vectors
SMALL_PIXELS = 1 << 8  # of an image up to which images are laid out side by side
SMALL_UPDATED = 144  # pixels up to which the updates of filters are summed so
SMALL_IMAGES = 16  # at least, side by side: what a cache line holds
SMALL_ABREAST = 64  # at most; more rows of them do not stay in cache

# Estimated from the sizes of caches or memory; no measurement was recorded.

ELEMENTS = 1 << 16  # floats of an activation at once; with its scratch, they fit one core's cache
ABSORBED = 1 << 16  # weights that are scaled at once: half a megabyte in float64
LOCAL_WINDOWS = 1 << 18  # floats of windows of a local layer in a task: half the cache of a core
OVERLAPS = 1 << 15  # overlaps with true boxes at once: a few float32 arrays stay in the cache
SIZES = 1 << 15  # boxes that are compared with all anchors at once
NMS_PAIRS = 1 << 16  # pairs of boxes examined together: their values fit the second-level cache
NMS_OVERLAPS = 1 << 20  # overlapping pairs, resolved together: some 80 MB
TRUTH_PAIRS = 1 << 20  # pairs of boxes and truths that are compared at once: some 40 MB
PROOF_PAIRS = 1 << 20  # pairs of boxes from two programs that are examined together
RECOLOURED = 1 << 14  # pixels of a picture at a time: their planes stay in the cache
PICTURE_STRIP = 1 << 20  # pixels converted at a time: the whole picture would need four copies
FILE_PART = 1 << 24  # bytes of a weights file that are examined together

# Measured on one core of the server named above, others at work on the second, 30 November 2026.
# From 1 << 13 to 1 << 18 it takes the same time; all of 512 x 256 filters at once took five times
# as long, and all of 1024 x 512 fourteen times.

WINOGRAD_TAPS = 1 << 15  # floats of filters that are transformed at once
