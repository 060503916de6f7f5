#pragma once

typedef enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 } TfLiteStatus;

namespace tflite {
class MicroOpResolver {
 public:
  unsigned registered() const { return registered_; }

 protected:
  unsigned registered_ = 0;
};

template <unsigned int tOpCount>
class MicroMutableOpResolver : public MicroOpResolver {
 public:
  TfLiteStatus AddFullyConnected() { return Add(); }
  TfLiteStatus AddConv2D() { return Add(); }
  TfLiteStatus AddReshape() { return Add(); }

 private:
  TfLiteStatus Add() {
    if (registered_ == tOpCount) return kTfLiteError;
    ++registered_;
    return kTfLiteOk;
  }
};
}  // namespace tflite
