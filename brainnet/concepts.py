"""The eleven concepts of a neural network, as data: what each is, in a brain and in code."""

from dataclasses import dataclass

from brainnet.errors import InputError, find_nearest

STRUCTURAL_PRIMITIVES = "structural primitives"
LEARNING_MECHANICS = "learning mechanics"
GROUPS = (STRUCTURAL_PRIMITIVES, LEARNING_MECHANICS)


@dataclass(frozen=True, slots=True)
class Concept:
    """One concept of the explanation: in a brain, in plain technical words and in one line of math.

    The name is used in code, tags, TensorBoard and `brainnet explain`. `home` is the dotted name of
    the public class or function that implements it; `reference` is a textbook or paper.
    """

    name: str
    group: str
    analogy: str
    definition: str
    formula: str
    home: str
    reference: str

    @property
    def slug(self) -> str:
        """The name as one word for a shell: `forward-pass`."""
        return self.name.replace(" ", "-")


LAYERS = Concept(
    name="layers",
    group=STRUCTURAL_PRIMITIVES,
    analogy=(
        "A brain works in stages: the senses take in, the next stage recognises, the last one "
        "understands. Light becomes edges, edges become shapes, and then: squirrel!"
    ),
    definition=(
        "Neurons that work side by side form a layer, and each layer reads what the one before "
        "it says. The input layer holds the data, the hidden layers (one or many) find what "
        "matters in it, and the output layer gives the answer."
    ),
    formula="a⁰ = inputs,  aˡ = f(Wˡ aˡ⁻¹ + bˡ)  for each layer l,  answer = the last layer's z",
    home="brainnet.structure.layer.Layer",
    reference="Goodfellow, Bengio & Courville, Deep Learning (MIT Press, 2016), chapter 6",
)

NEURONS = Concept(
    name="neurons",
    group=STRUCTURAL_PRIMITIVES,
    analogy=(
        "A brain cell collects the signals that reach it. When together they are strong enough, "
        "it fires and passes the message on; when they are not, it keeps quiet."
    ),
    definition=(
        "A neuron weighs every input, adds its bias, and sends the sum through its activation "
        "function. It gives out one number: how strongly it fires."
    ),
    formula="y = f(w₁x₁ + w₂x₂ + … + wₙxₙ + b)",
    home="brainnet.structure.neuron.Neuron",
    reference=(
        "McCulloch & Pitts, A logical calculus of the ideas immanent in nervous activity, "
        "Bulletin of Mathematical Biophysics 5 (1943)"
    ),
)

WEIGHTS = Concept(
    name="weights",
    group=STRUCTURAL_PRIMITIVES,
    analogy=(
        "Not every signal gets the same attention. In a kitchen the smell of smoke counts for "
        "much and the music in the background for nothing at all."
    ),
    definition=(
        "Every connection carries a number, its weight, that multiplies the signal passing "
        "through: large counts much, zero is ignored, negative speaks against. The weights are "
        "most of what a network learns."
    ),
    formula="z = Σᵢ wᵢ xᵢ",
    home="brainnet.structure.weights.Weights",
    reference=(
        "Rosenblatt, The perceptron: a probabilistic model for information storage and "
        "organization in the brain, Psychological Review 65 (1958)"
    ),
)

BIASES = Concept(
    name="biases",
    group=STRUCTURAL_PRIMITIVES,
    analogy=(
        "Some of us are naturally jumpy and start at the least sign; others are calm and need "
        "a good reason. It is a tendency that is there before anything happens."
    ),
    definition=(
        "Each neuron adds one number of its own, its bias, whatever the input. A positive bias "
        "makes it fire more easily, a negative one makes it hold back; it is learned as the "
        "weights are."
    ),
    formula="z = Σᵢ wᵢ xᵢ + b",
    home="brainnet.structure.bias.Bias",
    reference="Bishop, Pattern Recognition and Machine Learning (Springer, 2006), section 3.1",
)

ACTIVATION_FUNCTION = Concept(
    name="activation function",
    group=STRUCTURAL_PRIMITIVES,
    analogy=(
        "There is a threshold for reacting. A light tap on the hand does nothing, a firmer one "
        "gets some of our attention, and a hard knock makes us pull away at once."
    ),
    definition=(
        "It turns a neuron's sum into how strongly the neuron fires: 0 up to the threshold, "
        "rising in a straight ramp over the width, then 1 however much more comes. Without "
        "such a bend, many layers would do no more than a single one."
    ),
    formula="f(z) = clamp((z - threshold) / width, 0, 1)",
    home="brainnet.structure.activation.ThresholdRamp",
    reference=(
        "Goodfellow, Bengio & Courville, Deep Learning (MIT Press, 2016), section 6.3; the ramp "
        "is the hard tanh listed there, moved to the range from 0 to 1"
    ),
)

FORWARD_PASS = Concept(
    name="forward pass",
    group=STRUCTURAL_PRIMITIVES,
    analogy=(
        "Thinking: the scene comes in at the senses, runs through every stage, and an answer "
        "comes out. Nothing is learned yet; the brain only says what it makes of it."
    ),
    definition=(
        "The input goes through all layers in order, each weighing, adding its biases and "
        "activating, until the output layer gives the answer. No weight changes on the way."
    ),
    formula="for each layer in order:  z = W a + b,  a = f(z)",
    home="brainnet.structure.forward_pass.ForwardPass",
    reference=(
        "Goodfellow, Bengio & Courville, Deep Learning (MIT Press, 2016), section 6.5.4, "
        "algorithm 6.3"
    ),
)

LOSS_FUNCTION = Concept(
    name="loss function",
    group=LEARNING_MECHANICS,
    analogy=(
        "The sting of being wrong. A small slip stings a little; to be sure, and wrong, about "
        "a pan on fire stings a lot."
    ),
    definition=(
        "One number for how wrong the answer was: near 0 when the answer is right, and larger "
        "the worse the mistake. For a choice between classes it is the cross-entropy, minus the "
        "logarithm of the probability given to the right one."
    ),
    formula="loss = -ln p(right answer),  p = softmax(outputs)",
    home="brainnet.learning.loss.CrossEntropy",
    reference=(
        "Goodfellow, Bengio & Courville, Deep Learning (MIT Press, 2016), sections 6.2.1 and 6.2.2"
    ),
)

BACKPROPAGATION = Concept(
    name="backpropagation",
    group=LEARNING_MECHANICS,
    analogy=(
        'Tracing the blame. Dinner is burnt, and the mind runs back through the evening: "I '
        'should have checked the burner, and I listened to the music instead."'
    ),
    definition=(
        "The error is carried backward from the output to the first layer by the chain rule. "
        "Each neuron gets its delta, how much the loss changes with its sum, and so we know "
        "which weights caused the most damage."
    ),
    formula="δ (output) = p - y,  δˡ = (transpose(Wˡ⁺¹) δˡ⁺¹) ⊙ f'(zˡ)",
    home="brainnet.learning.backpropagation.backpropagate",
    reference=(
        "Rumelhart, Hinton & Williams, Learning representations by back-propagating errors, "
        "Nature 323 (1986)"
    ),
)

GRADIENT = Concept(
    name="gradient",
    group=LEARNING_MECHANICS,
    analogy=(
        "On a hill in thick fog you cannot see the valley, but you feel the slope under your "
        "feet: which way is down, and how steep it is here."
    ),
    definition=(
        "For every weight and bias, how the loss would change if it grew a little: the sign says "
        "which way, the size how steeply. It holds right here; a few steps on, the slope is a "
        "different one."
    ),
    formula="∂loss/∂wᵢⱼ = δᵢ aⱼ,  ∂loss/∂bᵢ = δᵢ",
    home="brainnet.learning.gradient.get_gradients",
    reference="Goodfellow, Bengio & Courville, Deep Learning (MIT Press, 2016), section 4.3",
)

GRADIENT_DESCENT = Concept(
    name="gradient descent",
    group=LEARNING_MECHANICS,
    analogy=(
        "Step downhill, feel the slope again, step again, thousands of times. Where it is steep "
        "the steps are long, where it flattens they grow short, and so you settle in the valley."
    ),
    definition=(
        "Every weight and bias moves against its gradient, by the learning rate times the "
        "gradient. Repeated batch after batch, it leads to weights with a low loss."
    ),
    formula="w ← w - learning rate · ∂loss/∂w",
    home="brainnet.learning.gradient_descent.GradientDescent",
    reference=(
        "Robbins & Monro, A stochastic approximation method, Annals of Mathematical "
        "Statistics 22 (1951)"
    ),
)

LEARNING_RATE = Concept(
    name="learning rate",
    group=LEARNING_MECHANICS,
    analogy=(
        "The size of the step. Too big, and you overshoot the valley and panic from one slope to "
        "the other; too small, and you never get there. One burnt dinner should teach you to "
        "check the burner, not to fear all kitchens."
    ),
    definition=(
        "The factor on every step of gradient descent. It often follows a schedule: it warms up "
        "from almost nothing, works at its height, and then fades, so that the last steps settle."
    ),
    formula="step = learning rate · ∂loss/∂w",
    home="brainnet.learning.learning_rate.WarmupCosine",
    reference=(
        "Bengio, Practical recommendations for gradient-based training of deep architectures "
        "(2012); Loshchilov & Hutter, SGDR: stochastic gradient descent with warm restarts "
        "(ICLR 2017) for the cosine"
    ),
)

CONCEPTS: tuple[Concept, ...] = (
    LAYERS,
    NEURONS,
    WEIGHTS,
    BIASES,
    ACTIVATION_FUNCTION,
    FORWARD_PASS,
    LOSS_FUNCTION,
    BACKPROPAGATION,
    GRADIENT,
    GRADIENT_DESCENT,
    LEARNING_RATE,
)

_SHORT_NAMES = {
    "activation": ACTIVATION_FUNCTION,
    "forward": FORWARD_PASS,
    "loss": LOSS_FUNCTION,
    "backprop": BACKPROPAGATION,
    "lr": LEARNING_RATE,
}


def find_concept(name: str) -> Concept:
    """Return the concept with a name in any spelling, or with a short name such as `lr`.

    Example:
        >>> find_concept("Forward-Pass").name, find_concept("weight") is WEIGHTS
        ('forward pass', True)
    """
    spellings = dict(_SHORT_NAMES)
    for concept in CONCEPTS:
        singular = {"biases": "bias"}.get(concept.name, concept.name.removesuffix("s"))
        spellings |= {concept.name: concept, singular: concept, f"{singular}s": concept}
    wanted = " ".join(name.lower().replace("-", " ").replace("_", " ").split())
    if wanted in spellings:
        return spellings[wanted]
    nearest = find_nearest(wanted, spellings)
    if nearest is not None:
        advice = f"Did you mean {spellings[nearest].slug}?"
    else:
        advice = f"Choose one of: {', '.join(concept.slug for concept in CONCEPTS)}."
    raise InputError(f"expected one of the {len(CONCEPTS)} concepts; got {name!r}. {advice}")
