/* Runs a model through Darknet itself and writes what every layer gave.
 *
 *   darknet_driver shape CFG OUT
 *       OUT: the dims of the input as int32: batch, c, h, w; or batch, inputs.
 *   darknet_driver run CFG WEIGHTS INPUT OUT SAVED
 *       INPUT: float32, batch x inputs.
 *       OUT:   for each layer its number of dims, its dims (both int32) and its float32 values.
 *       SAVED: the model as Darknet wrote it back, to prove that it read the whole file.
 *   darknet_driver train CFG WEIGHTS INPUT TRUTH SEEN OUT
 *       One step forward and back in training, without update.  TRUTH: float32, batch x truths.
 *       OUT:   the cost; for each layer its size (int32), its output, and its delta before and
 *              behind the way back, or zeros where it has none.
 *
 * All numbers have the byte order of the machine.  Exit status: 0 done, 1 failed, 2 wrong usage.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "darknet.h"

static void die(const char *problem, const char *name)
{
    fprintf(stderr, "darknet_driver: %s: %s\n", problem, name);
    exit(1);
}

static FILE *open_file(const char *name, const char *mode)
{
    FILE *file = fopen(name, mode);
    if (!file) die("cannot open", name);
    return file;
}

/* batch, c, h, w where that accounts for every value, else batch, size. */
static int dims_of(int batch, int c, int h, int w, int size, int dims[4])
{
    dims[0] = batch;
    if (c > 0 && h > 0 && w > 0 && (long)c * h * w == size) {
        dims[1] = c;
        dims[2] = h;
        dims[3] = w;
        return 4;
    }
    dims[1] = size;
    return 2;
}

static void write_all(const void *values, size_t size, size_t count, FILE *file, const char *name)
{
    if (fwrite(values, size, count, file) != count) die("cannot write", name);
}

static void close_file(FILE *file, const char *name)
{
    if (fclose(file)) die("cannot write", name);
}

static int write_shape(char *cfg, const char *out)
{
    network *net = parse_network_cfg(cfg);
    int dims[4];
    int ndim = dims_of(net->batch, net->c, net->h, net->w, net->inputs, dims);
    FILE *file = open_file(out, "wb");
    write_all(dims, sizeof(int), ndim, file, out);
    close_file(file, out);
    return 0;
}

static float *read_input(const char *name, size_t count)
{
    float *values = calloc(count + 1, sizeof(float));
    FILE *file = open_file(name, "rb");
    if (!values) die("not enough memory for", name);
    if (fread(values, sizeof(float), count + 1, file) != count) {
        die("not as many values as the network takes", name);
    }
    fclose(file);
    return values;
}

static void write_layers(const network *net, const char *out)
{
    FILE *file = open_file(out, "wb");
    int dims[4] = {0};
    int ndim = 0;
    for (int i = 0; i < net->n; ++i) {
        layer l = net->layers[i];
        /* [dropout] sets no shape: it is an alias of the layer before it, as is its output. */
        if (l.type != DROPOUT || i == 0) {
            ndim = dims_of(net->batch, l.out_c, l.out_h, l.out_w, l.outputs, dims);
        }
        if (!l.output) die("a layer has no output in", out);
        write_all(&ndim, sizeof(int), 1, file, out);
        write_all(dims, sizeof(int), ndim, file, out);
        write_all(l.output, sizeof(float), (size_t)net->batch * l.outputs, file, out);
    }
    close_file(file, out);
}

static int run(char *cfg, char *weights, const char *input, const char *out, char *saved)
{
    /* Darknet leaves with status 0 where a file is missing. */
    fclose(open_file(cfg, "rb"));
    fclose(open_file(weights, "rb"));
    network *net = load_network(cfg, weights, 0);
    float *values = read_input(input, (size_t)net->batch * net->inputs);
    save_weights(net, saved);
    network_predict(net, values); /* with train = 0 and no truth */
    write_layers(net, out);
    return 0;
}

static void write_values(const float *values, size_t count, FILE *file, const char *name)
{
    float zero = 0;
    for (size_t i = 0; i < count; ++i) write_all(values ? values + i : &zero, 4, 1, file, name);
}

static int train(char *cfg, char *weights, char **names, const char *out)
{
    fclose(open_file(cfg, "rb"));
    fclose(open_file(weights, "rb"));
    network *net = load_network(cfg, weights, 0);
    layer last = net->layers[net->n - 1];
    size_t truths = (size_t)net->batch * (last.truths ? last.truths : last.outputs);
    float **before = calloc(net->n, sizeof(float *));
    memcpy(net->input, read_input(names[0], (size_t)net->batch * net->inputs),
           sizeof(float) * net->batch * net->inputs);
    net->truth = read_input(names[1], truths);
    *net->seen = atoi(names[2]);
    net->train = 1;
    forward_network(net);
    for (int i = 0; i < net->n; ++i) {
        layer l = net->layers[i];
        size_t count = (size_t)net->batch * l.outputs;
        if (!l.delta) continue;
        before[i] = calloc(count, sizeof(float));
        memcpy(before[i], l.delta, sizeof(float) * count);
    }
    backward_network(net);
    FILE *file = open_file(out, "wb");
    write_all(net->cost, sizeof(float), 1, file, out);
    for (int i = 0; i < net->n; ++i) {
        layer l = net->layers[i];
        int count = net->batch * l.outputs;
        write_all(&count, sizeof(int), 1, file, out);
        write_values(l.output, count, file, out);
        write_values(before[i], count, file, out);
        write_values(l.delta, count, file, out);
    }
    close_file(file, out);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "shape")) return write_shape(argv[2], argv[3]);
    if (argc == 7 && !strcmp(argv[1], "run")) {
        return run(argv[2], argv[3], argv[4], argv[5], argv[6]);
    }
    if (argc == 8 && !strcmp(argv[1], "train")) return train(argv[2], argv[3], argv + 4, argv[7]);
    fprintf(stderr, "usage: darknet_driver shape CFG OUT\n"
                    "       darknet_driver run CFG WEIGHTS INPUT OUT SAVED\n"
                    "       darknet_driver train CFG WEIGHTS INPUT TRUTH SEEN OUT\n");
    return 2;
}
