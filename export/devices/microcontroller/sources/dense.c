
static void dense(const layer *from, const int8_t *input, int8_t *output) {
  layer copy;
  const layer *const l = POLICY_READ(&copy, from);
  const int8_t *weight = l->weights;
  for (ptrdiff_t o = 0; o < l->outputs; ++o, weight += l->inputs)
    output[o] = finished(l, o, dot(POLICY_READ_INT32(l->bias + o), weight, input, l->inputs));
}
