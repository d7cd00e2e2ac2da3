// Find objects with a detector that was exported for ncnn with head="decoded".
//
//     detect NET.param NET.bin PICTURE.ppm [threshold [out.ppm]]
//
// prints what `darknet-bn detect NET PICTURE --ext-output` prints for a model whose pictures are put
// into a letterbox (of the dialect pjreddie, for example), and draws the boxes into out.ppm.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <net.h>

// A picture: three planes, red, green and blue, with values from 0 to 1.
struct Picture {
    int w = 0, h = 0;
    std::vector<float> data;

    Picture(int w, int h, float fill) : w(w), h(h), data(3 * size_t(w) * h, fill) {}
    float& at(int c, int y, int x) { return data[(size_t(c) * h + y) * w + x]; }
    float at(int c, int y, int x) const { return data[(size_t(c) * h + y) * w + x]; }
};

struct Box {
    float left, top, right, bottom, score;
    int kind;
};

static Picture read_ppm(const char* path) {
    FILE* file = fopen(path, "rb");
    int w, h;
    if (!file || fscanf(file, "P6 %d %d 255", &w, &h) != 2 || w < 1 || h < 1) {
        fprintf(stderr, "%s: no binary .ppm of 8 bits\n", path);
        exit(2);
    }
    fgetc(file);
    Picture picture(w, h, 0);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < 3; c++) picture.at(c, y, x) = fgetc(file) / 255.f;
    fclose(file);
    return picture;
}

static void write_ppm(const char* path, const Picture& picture) {
    FILE* file = fopen(path, "wb");
    if (!file) {
        fprintf(stderr, "%s: cannot be written\n", path);
        exit(2);
    }
    fprintf(file, "P6\n%d %d\n255\n", picture.w, picture.h);
    for (int y = 0; y < picture.h; y++)
        for (int x = 0; x < picture.w; x++)
            for (int c = 0; c < 3; c++) fputc(int(picture.at(c, y, x) * 255 + 0.5f), file);
    fclose(file);
}

// Darknet's way: bilinear, with the corner pixels on the corner pixels.
static Picture resize(const Picture& from, int w, int h) {
    Picture to(w, h, 0);
    const float sx = w > 1 ? float(from.w - 1) / float(w - 1) : 0;
    const float sy = h > 1 ? float(from.h - 1) / float(h - 1) : 0;
    for (int y = 0; y < h; y++) {
        const int top = int(y * sy), below = std::min(top + 1, from.h - 1);
        const float dy = y * sy - top;
        for (int x = 0; x < w; x++) {
            const bool last = x == w - 1;
            const int left = last ? from.w - 1 : int(x * sx), right = std::min(left + 1, from.w - 1);
            const float dx = last ? 0 : x * sx - left;
            for (int c = 0; c < 3; c++) {
                const float upper = (1 - dx) * from.at(c, top, left) + dx * from.at(c, top, right);
                const float lower = (1 - dx) * from.at(c, below, left) + dx * from.at(c, below, right);
                to.at(c, y, x) = (1 - dy) * upper + (y < h - 1 ? dy * lower : 0);
            }
        }
    }
    return to;
}

static float overlap(const Box& a, const Box& b) {
    const float w = std::min(a.right, b.right) - std::max(a.left, b.left);
    const float h = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
    if (w <= 0 || h <= 0) return 0;
    const float both = (a.right - a.left) * (a.bottom - a.top) + (b.right - b.left) * (b.bottom - b.top);
    return w * h / (both - w * h);
}

static void draw(Picture& picture, const Box& box) {
    const int left = std::min(std::max(int(box.left), 0), picture.w - 1);
    const int right = std::min(std::max(int(box.right), 0), picture.w - 1);
    const int top = std::min(std::max(int(box.top), 0), picture.h - 1);
    const int bottom = std::min(std::max(int(box.bottom), 0), picture.h - 1);
    for (int c = 0; c < 3; c++) {
        for (int x = left; x <= right; x++) picture.at(c, top, x) = picture.at(c, bottom, x) = c == 1;
        for (int y = top; y <= bottom; y++) picture.at(c, y, left) = picture.at(c, y, right) = c == 1;
    }
}

int main(int argc, char** argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: %s NET.param NET.bin PICTURE.ppm [threshold [out.ppm]]\n", argv[0]);
        return 2;
    }
    const float threshold = argc > 4 ? float(atof(argv[4])) : 0.5f;

    ncnn::Net net;
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = false;
    if (net.load_param(argv[1]) || net.load_model(argv[2])) return 2;

    // The size of the input stands in the first layer.
    const ncnn::Mat shape = net.blobs()[net.input_indexes()[0]].shape;
    int w = shape.w, h = shape.h;
    if (w == 0) {  // versions that keep no shapes: the third line of the .param says it, too
        FILE* file = fopen(argv[1], "r");
        if (!file || fscanf(file, "%*d %*d %*d Input %*s 0 1 %*s 0=%d 1=%d", &w, &h) != 2) return 2;
        fclose(file);
    }

    Picture picture = read_ppm(argv[3]);
    int inner_w = w, inner_h = picture.h * w / picture.w;
    if (float(w) / picture.w >= float(h) / picture.h) inner_w = picture.w * h / picture.h, inner_h = h;
    const Picture small = resize(picture, inner_w, inner_h);
    ncnn::Mat in(w, h, 3);
    in.fill(0.5f);
    const int x0 = (w - inner_w) / 2, y0 = (h - inner_h) / 2;
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < inner_h; y++)
            for (int x = 0; x < inner_w; x++)
                in.channel(c).row(y0 + y)[x0 + x] = small.at(c, y, x);

    ncnn::Extractor run = net.create_extractor();
    run.input("input", in);
    ncnn::Mat boxes, confs;
    if (run.extract("boxes", boxes) || run.extract("confs", confs)) return 2;

    std::vector<Box> found;
    for (int k = 0; k < boxes.h; k++) {
        const float* b = boxes.row(k);
        // From parts of the letterbox to pixels of the picture; bars of half a pixel count.
        const float dx = (w - inner_w) / 2.f, dy = (h - inner_h) / 2.f;
        const float sx = float(picture.w) / inner_w, sy = float(picture.h) / inner_h;
        for (int kind = 0; kind < confs.w; kind++)
            if (confs.row(k)[kind] > threshold)
                found.push_back({(b[0] * w - dx) * sx, (b[1] * h - dy) * sy, (b[2] * w - dx) * sx,
                                 (b[3] * h - dy) * sy, confs.row(k)[kind], kind});
    }
    std::stable_sort(found.begin(), found.end(),
                     [](const Box& a, const Box& b) { return a.score > b.score; });
    std::vector<Box> kept;
    for (const Box& box : found) {
        const bool stays = std::none_of(kept.begin(), kept.end(), [&](const Box& better) {
            return better.kind == box.kind && overlap(better, box) > 0.45f;
        });
        if (stays) kept.push_back(box);
    }

    for (const Box& box : kept) {
        printf("class %d: %.0f%%\t(left_x: %4.0f   top_y: %4.0f   width: %4.0f   height: %4.0f)\n",
               box.kind, box.score * 100, std::round(box.left), std::round(box.top),
               std::round(box.right - box.left), std::round(box.bottom - box.top));
        draw(picture, box);
    }
    if (argc > 5) write_ppm(argv[5], picture);
    return 0;
}
