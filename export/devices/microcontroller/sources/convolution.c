
/* Down the image, counts are pixels; across it they are numbers, pixels times channels, because these lie side by side. */
typedef struct {
  layer each; /* what is done with each window */
  ptrdiff_t height, width; /* of the input */
  ptrdiff_t window_height, window_width;
  ptrdiff_t down, across; /* from window to window */
  ptrdiff_t above, left; /* how far the first window reaches beyond the input */
  ptrdiff_t rows, columns; /* of windows */
  int8_t beyond; /* the zero that stands beyond the input */
} convolution;

static int32_t dot_beyond(int32_t sum, const int8_t *weight, int8_t x, ptrdiff_t count) {
  for (; count > 0; --count, ++weight) sum += POLICY_READ_INT8(weight) * x;
  return sum;
}

/* The window whose upper left corner lies at y and x. */
static int32_t dot_window(const convolution *c, int32_t sum, const int8_t *weight, const int8_t *input, ptrdiff_t y, ptrdiff_t x) {
  const ptrdiff_t first = x < 0 ? -x : 0; /* of a row of the window, what lies in the input */
  const ptrdiff_t end = x + c->window_width > c->width ? c->width - x : c->window_width;
  for (ptrdiff_t bottom = y + c->window_height; y != bottom; ++y, weight += c->window_width) {
    if (y < 0 || y >= c->height) {
      sum = dot_beyond(sum, weight, c->beyond, c->window_width);
    } else {
      sum = dot_beyond(sum, weight, c->beyond, first);
      sum = dot(sum, weight + first, input + (y * c->width + x + first), end - first);
      sum = dot_beyond(sum, weight + end, c->beyond, c->window_width - end);
    }
  }
  return sum;
}

static void convolve(const convolution *from, const int8_t *input, int8_t *output) {
  convolution copy;
  const convolution *const c = POLICY_READ(&copy, from);
  const layer *const l = &c->each;
  for (ptrdiff_t row = 0; row < c->rows; ++row)
    for (ptrdiff_t column = 0; column < c->columns; ++column) {
      const ptrdiff_t y = row * c->down - c->above, x = column * c->across - c->left;
      const int8_t *weight = l->weights;
      for (ptrdiff_t o = 0; o < l->outputs; ++o, weight += l->inputs)
        *output++ = finished(l, o, dot_window(c, POLICY_READ_INT32(l->bias + o), weight, input, y, x));
    }
}
