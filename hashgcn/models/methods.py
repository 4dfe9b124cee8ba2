"""The methods: each is a network and the defaults of its settings."""

from __future__ import annotations

from hashgcn.models.base import HashModel
from hashgcn.networks.bgch import BGCHNetwork
from hashgcn.networks.hash_gnn import HashGNNNetwork
from hashgcn.networks.hash_rec import HashRecNetwork
from hashgcn.networks.lightgcn import LightGCNNetwork
from hashgcn.networks.recall_hash import RecallHashNetwork


class RecallHash(HashModel):
    """The method of the paper, with popularity bits, recent items and graded users.

        P, Q = nn.LightGCN(graph);   P <- P + recent_scale A_recent Q
        codes: items are the signs of Q, users one of the weights ±1, ±3, ... by the size of P,
               both with SignSwish's gradient; then popularity bits (nn.PopularityBits)
        loss: nn.SmoothRecallLoss over all items, for the users of a batch

    A_recent is the normalised graph of the last of each user's items, where their order in time is
    known. With `user_levels=1` users are signs too. `user_levels=1, popularity_bits=0,
    recent_fraction=0, train_cutoffs=(50,)` gives the paper's own form; `estimator` gives the sign
    another gradient, `loss` is another loss.

        >>> import hashgcn
        >>> model = hashgcn.RecallHash(code_length=32, epochs=1, trials=1)
        >>> model = model.fit(hashgcn.load("sample"), progress=False)
        >>> model.recommend(["user-0001"], k=10).ids.shape
        (1, 10)

    Source: "Optimizing Recall in Deep Graph Hashing Framework for Item Retrieval" (AAAI-24 student
    abstract); popularity bits, recent items and graded users are additions of this library.
    """

    method = "recall_hash"
    network = RecallHashNetwork
    defaults = {"learning_rate": 0.015}
    tunes = {
        "recent_fraction": (0.0,),
        "tau_score": (1.6, 0.63),
        "epochs": (),
        "learning_rate": (2.0, 0.5),
        "popularity_bits": (1.5, 0.5),
    }


class LightGCN(HashModel):
    """Real-valued LightGCN, which bounds what codes can reach, and two ways of rounding it.

        score = <p_u, q_i> + c_i with item_bias; both rows are divided by their norms
            (score="cosine"), the user's alone ("user"), or none ("dot")
        loss="recall": - mean over users of sigma(log N - log smooth rank of i), mean over N
        loss="softmax": - mean over pairs of log(e^(s_ui / t) / sum over all items of e^(s_uj / t))
        loss="bpr": mean of softplus(s_uj - s_ui), j uniform among the items that the user lacks,
            + l2 / 2 |embeddings of layer 0 of u, i, j|^2, as published

    A row has as many numbers as a code has bits. `metrics.rankings["real"]` ranks by scores and
    selects the number of epochs, `metrics.test` ranks by the signs of the rows, and
    `metrics.rankings["itq"]` by the signs after a rotation of all rows (nn.itq); the signs know no
    bias. Nothing in training knows that signs will be taken. As published, BPR has score="dot", no
    bias, first_layer=0, learning_rate=1e-3, batch_pairs=2048, l2=1e-4 and 1000 epochs.

    Source: He et al., "LightGCN" (SIGIR 2020, arXiv 2002.02126).
    """

    method = "lightgcn"
    network = LightGCNNetwork
    tunes = {"temperature": (1.4, 0.7), "epochs": (), "learning_rate": (2.0, 0.5)}


class BGCH(HashModel):
    """LightGCN with a hash layer on every layer; codes are concatenated and scaled.

        x_0: embeddings after feature dispersion;  x_(l+1) = D^-1/2 A D^-1/2 x_l
        code of layer l: a_l sgn(W x_l), a_l = mean |W x_l|, one scaler per node and layer
        score = sum over l of a_l^u a_l^i <code_l^u, code_l^i>
        loss = BPR on codes + cross entropy of embeddings' inner products + l2 / 2b |parameters|^2

    The sign's gradient is that of a Fourier series (ops.sign_fourier), and passes the scaler by.
    `code_length` counts the bits of all layers. `metrics.rankings["scaled"]` ranks with the scalers
    and selects the number of epochs; `metrics.test`, recommendations and the index go by the
    Hamming distance of the concatenated codes. `form="mean"` hashes the mean of the layers to one
    code, which may have popularity bits.

    The released code differs: its W is not among the parameters that are trained
    (`trained_hash=False`); it draws the dispersion anew at evaluation, so that scores are random,
    and sends gradients through the direction; l2 counts codes too; a layer has 256 bits.

    Source: Chen et al., "Bipartite Graph Convolutional Hashing for Effective and Efficient Top-N
    Search in Hamming Space" (WWW 2023, arXiv 2304.00241).
    """

    method = "bgch"
    network = BGCHNetwork
    defaults = {
        "code_length": 192,
        "popularity_bits": 0,
        "learning_rate": 1e-3,
        "warmup_steps": 0,
        "sampling": "users",
        "l2": 1e-4,
        "epochs": 100,
        "patience": 20,
    }


class HashGNN(HashModel):
    """GraphSAGE embeddings and codes by tanh and sign, trained with guidance.

        x = leaky_relu(Dense(id));  AGG(x) = leaky_relu([x, mean of neighbours' x] W), without bias
        users: AGG of AGG (users and items share the inner W);  items: AGG
        z = tanh(Dense);  codes are signs of z
        loss = 0.1 (mean sigmoid cross entropy of positives and negatives) + BPR, on guided rows

    A guided row is the sign of z with probability beta, else z, and its gradient is z's; a user and
    its positive share a draw, and each negative has its own. beta rises from 0 to 1 over the run,
    so that training ends with codes. Each pair comes with 10 negatives.

    The released code samples 10 and 5 neighbours where all are averaged here, raises beta by 0.02
    every second epoch, to 0.18 at the end of its 20 epochs, and trains batches of 256 pairs.

    Source: Tan et al., "Learning to Hash with Graph Neural Networks for Recommender Systems" (WWW
    2020, arXiv 2003.01917).
    """

    method = "hashgnn"
    network = HashGNNNetwork
    defaults = {
        "popularity_bits": 0,
        "learning_rate": 1e-3,
        "warmup_steps": 0,
        "negatives": 10,
        "epochs": 20,
        "patience": 10,
    }


class HashRec(HashModel):
    """CIGAR's hash stage: codes of matrix factorisation, without a graph.

        p = tanh(beta P_u), q = tanh(beta Q_i), beta = sqrt(1 + 10 (epoch - 1));  at test signs
        loss = mean of -log sigma(alpha (<p, q_pos> - <p, q_neg>)), alpha = 10 / f,
               + l2 / 2 (|P_u|^2 + |Q_pos|^2 + |Q_neg|^2)

    The released code computes a quantisation term and leaves it out, as here, and sums over the
    batch instead of averaging, which is the same to Adam. It differs in an Adam that also moves
    rows outside the batch, in a constant learning rate, and in ties, which it breaks at random.
    Candidates come from all items, not from multi-index hashing.

    Source: Kang, McAuley, "Candidate Generation with Binary Codes for Large-Scale Top-N
    Recommendation" (CIKM 2019, arXiv 1909.05475); later tables call it HashRec.
    """

    method = "hashrec"
    network = HashRecNetwork
    defaults = {
        "popularity_bits": 0,
        "learning_rate": 1e-3,
        "warmup_steps": 0,
        "batch_pairs": 10_000,
        "sampling": "users",
        "l2": 1e-3,
        "epochs": 100,
        "patience": 30,
    }
