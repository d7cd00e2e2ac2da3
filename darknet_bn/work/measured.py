"""What was measured about cutting work: how large its parts may be, and from which size on it pays.

One row a number: its name, its value, and what it bounds.  The heading above the rows says where
they were measured.  Whoever cuts work names a row (``measured.ELEMENTS``) and has no number of its
own; how work is cut is in `cuts`.  Limits of files, and of what users may ask for, stand with what
they limit.

Another value may change the order in which floats are added up, and with it the last bits of
results.  Whoever measures a row again writes the machine and the date above it.
"""

from __future__ import annotations

# A fact of x86-64 and of most other processors; not measured.

LINE = 64  # bytes of a cache line; buffers begin at one

# Measured earlier; neither machine nor date was recorded.

WORTH_SHARING = 300_000  # nanoseconds of work from which on threads share it
PER_MULTIPLICATION = 0.02  # nanoseconds of one thread for a multiplication in a product, roughly
PER_FLOAT = 0.2  # nanoseconds of one thread for a float that is written, roughly
BLOCK = 1 << 19  # floats of a task; smaller ones cost more to hand to a thread than they gain
UNPACKED = 1_000_000  # multiplications up to which OpenBLAS multiplies without packing first
PRODUCT_COLUMNS = 192  # at least, of a product of its own that is cut so as not to be packed
WINDOWS = 1 << 19  # floats of windows and sums of a convolution in a task
POINTWISE_SUMS = 1 << 18  # floats of sums of a 1x1 convolution in a task
FILTERS_PIXELS = 1 << 10  # pixels of an image up to which threads share the filters instead
FILTERS_SHARED = 64  # filters, of which there must be as many for that
BIAS_AS_WEIGHT = 1 << 15  # weights up to which the bias may be one more of them
DEPTHWISE_FLOATS = 4  # floats written on the way to one output of a depthwise one, roughly
UPDATE_WINDOWS = 1 << 19  # floats of windows in a task on the way back
UPDATE_PARTS = 8  # sums of weight updates: a fixed number, so that threads do not change results
UPDATE_SUMS = 1 << 21  # floats in all of these sums together
CONNECTED_WEIGHTS = 1 << 18  # weights that one thread multiplies before it takes the next rows
WINOGRAD_ROWS = 1 << 16  # floats of one row position that a task transforms at once
WINOGRAD_PATCHES = 16_000  # channels times tiles in a task where threads share the tiles
WINOGRAD_TILES = 192  # tiles in a block where threads share the filters
WINOGRAD_BLOCKS = (32, 24, 16)  # filters in one product, whichever fits best
WINOGRAD_FEW_TILES = 16  # tiles of an image up to which it is the next row instead
WINOGRAD_BLOCKS_FOR_FEW = (24,)  # filters in one product
WINOGRAD_COLUMNS = 104  # tiles that are worth a product
WINOGRAD_PATCH = 12_288  # channels times tiles in one product: what the first-level cache holds
WINOGRAD_SUMS = 1 << 14  # filters times tiles that are transformed back at once
WINOGRAD_HEAVY = 1 << 21  # floats of transformed filters that should be read once only

# Measured on x86-64 with AVX-512; neither its cores nor the date were recorded.  Winograd's
# transforms pay where each channel and filter is summed over many of the other, and where there is
# work to hide some 30 microseconds of Python.  On small images F2 has fewer filters to read and
# wastes less.

WINOGRAD_CHANNELS = 16  # channels, and filters, that there must be
WINOGRAD_MULTIPLICATIONS = 2_500_000  # of the plain way, that there must be
WINOGRAD_SMALL_IMAGE = 120  # pixels up to which F2 is faster than F4

# Measured on two cores with 2 MB of second-level cache each; the date was not recorded.

NORM_BLOCK = 11 << 18  # bytes of a task; threads that share less wait for Python's lock too often
NORM_TILE = 4 << 20  # bytes of intermediate values at a time: bounded, but no block is cut
NORM_SHORT_SUM = 128  # pixels; below, it is faster to add up over the images first
NORM_SHORT_STEP = 1024  # pixels; below, repeating a filter's value is faster than broadcasting it
NORM_PIECE = 512  # values that are added up in float32; the pieces are added in float64
NORM_BUFFERED = 4096  # steps up to which ufuncs copy what they broadcast to a buffer of 8192,
NORM_LEAST_BUFFER = 16  # but not to one of so many, where no row fits
NORM_FEW = 1 << 14  # values; below, that does not matter

# Reckoned from the size of caches, or of memory; no measurement was recorded.

ELEMENTS = 1 << 16  # floats of an activation at once; with its scratch in the cache of one core
ABSORBED = 1 << 16  # weights that are scaled at once: half a megabyte in float64
LOCAL_WINDOWS = 1 << 18  # floats of windows of a local layer in a task: half the cache of a core
OVERLAPS = 1 << 15  # of boxes with true ones at once: a few arrays of float32 stay in the cache
NMS_PAIRS = 1 << 16  # pairs of boxes looked at together: their values fit the second-level cache
NMS_OVERLAPS = 1 << 20  # pairs that overlap, settled together: some 80 MB
TRUTH_PAIRS = 1 << 20  # pairs of boxes and truths that are compared at once: some 40 MB
PROOF_PAIRS = 1 << 20  # pairs of boxes of two programs that are looked at together
RECOLOURED = 1 << 14  # pixels of a picture at a time: their planes stay in the cache
PICTURE_STRIP = 1 << 20  # pixels that are converted at a time: the whole would be there four times
FILE_PART = 1 << 24  # bytes of a file of weights that are looked at together
